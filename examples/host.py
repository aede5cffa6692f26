"""What `taskrunner run` does, in four lines: a worker on this machine, which stops after a second without a run."""

import asyncio

from taskrunner import Config, StopCondition, home, run_worker
from taskrunner_standalone import StandaloneHost

load = asyncio.run(run_worker(Config(capacity=2), StandaloneHost(), home(), stop_when=StopCondition(idle=1.0)))
print("stopped:", load.why)
