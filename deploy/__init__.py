"""How the server and all around it are run. Nothing of the product imports it."""
