import asyncio
from tests.resolvers.asking import *
Q='{incidentStatistics(range: {to: "2026-03-10T23:59:59.999999+00:00", from: "2026-03-01T00:00:00+00:00"}, bucketSeconds: 0) {count} node(id: "350115a6-c4a2-45d7-bf83-8b5316bb4747") {id}}'
async def test_leak(operations, awkward):
    P=awkward.reads
    print(await answer(operations,awkward,"{incidents{totalCount}}"))
    for i in range(3):
        print(await ordinary(operations,awkward,Q))
        print(P._places,P._idle,[(c.task,c.is_in_transaction()) for c in P._connections],P._recoveries)
        await asyncio.sleep(0.2)
        print(P._places,P._idle,[(c.task,c.is_in_transaction()) for c in P._connections],P._recoveries)
