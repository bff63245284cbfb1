pytest_plugins = ["tests.node.fixtures", "tests.stand_in"]
