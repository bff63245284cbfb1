import json
import time

import httpx

URL = "http://127.0.0.1:9000/graphql"
QUERY = "subscription { events { __typename cursor incident { title } } }"
cursor = ""  # Keep it where your next start finds it, and that start resumes as well.
while True:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": cursor}
    try:
        with httpx.stream("POST", URL, json={"query": QUERY}, headers=headers, timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: ") and not cursor:
                    cursor = line.removeprefix("id: ")  # Where the subscription starts.
                elif line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))["data"]["events"]
                    print(json.dumps(event), flush=True)
                    cursor = event["cursor"]
    except httpx.TransportError:
        time.sleep(1)  # The server restarts, or the network is down.
