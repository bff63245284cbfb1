import os, re, time, collections, asyncio
import structlog
structlog.configure(processors=[lambda l,m,e: ("LOG "+str(e.get("event"))+" "+repr(e.get("exc_info"))[:300])])
import pytest
from hypothesis import HealthCheck, given, settings, Phase, strategies as st
from tests.resolvers.client import *
from tests.resolvers.documents import requests
from resolvers.compile.arguments import Uncompilable
N=int(os.environ.get("N","300")); MIS=os.environ.get("MIS")=="1"; MIX=os.environ.get("MIX")=="1"
seen=collections.Counter(); out=open("/tmp/c_fail_"+os.environ.get("TAG","x")+".txt","w"); stats=collections.Counter(); T=collections.Counter()
def report(kind,r,*more):
    seen[kind]+=1
    if seen[kind]<=3:
        out.write(f"=== {kind}\n{r.query}\nVARS {r.variables} NAME {r.name}\n"+"\n".join(str(m)[:1500] for m in more)+"\n"); out.flush()
@settings(max_examples=N, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
async def test_explore(data, client, values):
    async def watch():
        await asyncio.sleep(8)
        import os
        out.write("HANG "+repr(cur)+"\n")
        for h in hist[-4:-1]: out.write("PREV "+repr(h)+"\n")
        import gc
        for o in gc.get_objects():
            if type(o).__name__=="async_generator" and o.ag_frame: out.write("AG %r %s %r\n"%(o,o.ag_frame.f_lineno,o.ag_await))
        P=client.database.reads
        out.write(repr((P._places,P._idle,P._waiting,[(c,c.task,c.is_overdue,c._protocol.is_in_transaction(),c.is_closed(),c._protocol.__class__) for c in P._connections],P._watch,P._recoveries))+"\n")
        for t in asyncio.all_tasks():
            t.print_stack(file=out); 
            c=t.get_coro()
            while c is not None:
                out.write("  "+repr(c)+" "+(str(c.cr_frame and c.cr_frame.f_lineno) if hasattr(c,'cr_frame') else '')+"\n"); c=getattr(c,'cr_await',None) or getattr(c,'ag_await',None) or getattr(c,'gi_yieldfrom',None)
        out.flush(); os._exit(3)
    w=asyncio.ensure_future(watch())
    cur={}
    try: await explore(data,client,values,cur)
    finally:
        w.cancel()
        await asyncio.gather(w,return_exceptions=True)
hist=[]
async def explore(data,client,values,cur):
    t=time.perf_counter()
    r=data.draw(requests(client.operations, values, mistakes=MIS, mixed=MIX))
    cur['r']=r; hist.append(r)
    T['draw']+=time.perf_counter()-t; t=time.perf_counter()
    try: o=await client.ordinary(*r)
    except Exception as e: report("ORD "+repr(e)[:80],r,repr(e)); return
    cur['phase']='ord done'
    T['ord']+=time.perf_counter()-t; T['ordmax']=max(T['ordmax'],time.perf_counter()-t);t=time.perf_counter()
    stats['n']+=1; stats['bytes']+=len(o)
    if not MIS and b'"errors":[' in o[:20]: report("ERRORS "+re.sub(r'\d+','#',o[11:120].decode(errors='replace')),r,o)
    if MIS and b"INTERNAL" in o: report("INTERNAL", r, o)
    if MIS and b'"errors":[' in o[:20]: stats['errors']+=1; stats[re.sub(r'\d+','#',str(o[11:60]))]+=1
    if not MIS:
        try: f=await client.compiled(*r)
        except Uncompilable as e:
            stats['nothing']+=1
            if str(e)!="Nothing here comes from the database": report("UNC "+str(e)[:50],r)
            f=await client.answer(*r)
        except AssertionError as e:
            report("REF "+str(e)[:80],r,repr(e)); return
        except Exception as e:
            report("EXC "+repr(e)[:80],r,repr(e)); return
        T['comp']+=time.perf_counter()-t; T['compmax']=max(T['compmax'],time.perf_counter()-t);t=time.perf_counter()
    else:
        try: f=await client.answer(*r)
        except Exception as e:
            report("EXC "+repr(e)[:80],r,repr(e)); return
    if ordered(f)!=ordered(o): report("DIFF",r,f,o)
def test_zz():
    print(seen, stats, {k:round(v,2) for k,v in T.items()})
