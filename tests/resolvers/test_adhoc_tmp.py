import structlog
structlog.configure(processors=[lambda l,m,e: ("LOG "+str(e.get("event"))+" "+repr(e.get("exc_info"))[:300])])
import pytest, asyncio, orjson, sys
from tests.resolvers.client import *
Q=[l for l in __import__("pathlib").Path("/tmp/c_q.txt").read_text().split('\n---\n') if l.strip()]
async def test_adhoc(client):
    for q in Q:
        q,_,v=q.partition('\nVARS ')
        v=orjson.loads(v) if v else None
        print('=====',q, v)
        try: c=await client.compiled(q,v)
        except BaseException as e: c=repr(e)[:400]
        try: o=await client.ordinary(q,v)
        except BaseException as e: o=b'"%s"'%repr(e).encode()[:400]
        if isinstance(c,str): print('NOT COMPILED',c); print('O',o[:600])
        elif ordered(c)!=ordered(o): print('DIFF'); print(c[:800]); print(o[:800])
        else: print('same',c[:200])
        try:
            a=await client.ask(q,v)
            if orjson.dumps(a)!=ordered(o): print("EXEC DIFFERS",orjson.dumps(a)[:500])
        except BaseException as e: print("EXEC RAISES",repr(e)[:300])
