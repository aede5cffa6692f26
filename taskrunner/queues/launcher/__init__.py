"""The worker of a build launcher: `taskrunner run --queue launcher://0.0.0.0:3005?build_id=…`. Needs the extra
`launcher`."""

from taskrunner.queues.launcher.queue import LauncherQueue as LauncherQueue
