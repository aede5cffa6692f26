"""ProcessEngine: prepares a run's folder and starts its command or its steps."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import (
    Bug,
    NotSupported,
    TaskFailedInternally,
    local_failure,
)
from taskrunner.files.results import empty_run_folder
from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.engine import Engine
from taskrunner.proxies.names import check_host_name
from taskrunner.proxies.path_token import TokenGuard
from taskrunner.steps.expansion import expand_run_folder
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.specification import StepSpec
from taskrunner.steps.step_files import make_in_thread
from taskrunner_process.accounts.account import Account
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.attachments import Attachments
from taskrunner_process.child import Start
from taskrunner_process.command import TEMPORARY, environment
from taskrunner_process.execution import ProcessExecution
from taskrunner_process.groups.process_group import UNLIMITED
from taskrunner_process.launcher import Launcher
from taskrunner_process.main_command import OneCommand
from taskrunner_process.payload import ProcessPayload
from taskrunner_process.run_folder import OWN_GRACE, OWN_TIME, PreparedFolder, check_out
from taskrunner_process.step_command import STEP_FOLDER, ProcessSteps, make_files
from taskrunner_process.streams import open_input, open_outputs

LIMIT_TIME = 30.0
"""Seconds to make the control groups of a run, which takes a millisecond."""


class ProcessEngine(Engine[ProcessPayload]):
    """Everything that it makes is in the run's folder."""

    def __init__(
        self,
        launcher: Launcher,
        accounts: Accounts,
        worker_id: str,
        require_toolchains: Callable[[Path], Awaitable[None]] | None = None,
    ) -> None:
        """`require_toolchains` raises Reject for a checkout that asks for what this machine lacks."""
        self._launcher, self._accounts, self._worker_id = launcher, accounts, worker_id
        self._require_toolchains = require_toolchains
        self._context = launcher.context
        self._payload: ProcessPayload | None = None
        self._attachments = Attachments(launcher.context.task, accounts)

    @property
    def _account(self) -> Account | None:
        return self._launcher.account

    @property
    def _folder(self) -> PreparedFolder:
        return PreparedFolder(self._context.folder, self._account)

    async def load(self, payload: ProcessPayload) -> None:
        """Waits for an account, and prepares the folder, with the files of the task's source.

        Raises: Unavailable (this worker cannot limit what it starts)."""
        self._payload = payload
        limits = attrs.evolve(self._context.task.resources, named={})
        if limits.items:
            limit = self._launcher.groups.new_limit(str(self._context.run), limits)
            self._launcher = attrs.evolve(self._launcher, limit=limit)
        self._launcher = attrs.evolve(self._launcher, lease=await self._accounts.lease(self._context.log.say))
        if self._context.task.source:
            await check_out(self._context, self._account)
            if self._require_toolchains:
                await self._require_toolchains(self._context.folder)
        try:
            self._folder.make_folder(TEMPORARY)
        except OSError as error:
            raise local_failure(f"the run's folder could not be made ready: {error}", error) from None

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        """A symbolic link at `target` leads to the cache. A link cannot prevent writing, so `read_only` is refused.

        Raises: MalformedPayload, NotSupported (`read_only`), TaskFailedInternally.
        """
        if read_only:
            raise NotSupported("read-only caches: a process could write to it all the same; use the docker platform")
        await self._attachments.link_cache(self._folder, folder, target)
        self._launcher = attrs.evolve(self._launcher, caches=(*self._launcher.caches, folder.path))

    async def attach_mount(self, path: Path, target: str) -> None:
        """A copy without write bits. What the run does to it all the same, it does to its own copy.

        Raises: MalformedPayload, TaskFailed, TaskFailedInternally.
        """
        await self._attachments.copy_mount(self._folder, path, target)

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        """On a port of the loopback interface, which the processes of this machine share: see `path_token`.

        Raises: MalformedPayload, NotSupported, TaskFailedInternally.
        """
        proxies = self._launcher.proxies
        check_host_name("proxies", name, proxies.urls)
        guard = TokenGuard(handler)
        self._context.log.mask(guard.token)
        try:
            listener = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise local_failure(f"the proxy {name} cannot listen: {error.strerror}", error) from None
        port = listener.getsockname()[1]
        await proxies.add(name, guard, listener, f"http://127.0.0.1:{port}/{guard.token}/")

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> ProcessExecution:
        """Raises: MalformedPayload, TaskFailed (`command-not-found`, `not-executable`, `working-dir-missing`),
        TaskFailedInternally."""
        if self._payload is None:
            raise Bug("a run is loaded before it is started")
        await self._make_limit()
        try:
            return await self._start(self._payload, env, stdin=stdin)
        except BaseException:
            self._launcher.limit.close()
            raise

    async def _make_limit(self) -> None:
        limit = self._launcher.limit
        if limit is UNLIMITED:
            return
        try:
            await run_blocking(limit.make, limit=LIMIT_TIME, doing="limiting a run", error=TaskFailedInternally)
        except OSError as error:
            limit.close()
            raise local_failure(f"the run could not be limited: {error}", error) from None

    async def _start(self, payload: ProcessPayload, env: Mapping[str, str], *, stdin: bool) -> ProcessExecution:
        folder = self._context.folder
        env = {**self._launcher.proxies.variables, **expand_run_folder(env, self._context.task, str(folder))}
        complete = environment(self._context.run, self._worker_id, folder, self._account, env)
        launcher = attrs.evolve(self._launcher, env=complete)
        working_dir = payload.working_dir
        if payload.steps:
            steps = [attrs.evolve(step, working_dir=step.working_dir or working_dir) for step in payload.steps]
            return await self._start_steps(launcher, steps, env, stdin=stdin)
        folder = launcher.folder(working_dir)
        command = launcher.find(payload.command, folder)
        writing: int | None = None
        if stdin:
            reading, writing = os.pipe()
        else:
            reading = await open_input(payload.stdin, self._context.folder, self._account)
        try:
            await self._give_folder()
        except TaskFailedInternally:
            for number in (reading, *([] if writing is None else [writing])):
                os.close(number)
            raise
        return await self._launch(launcher, command, folder, reading, writing)

    async def _give_folder(self, *, keep: Sequence[str] = ()) -> None:
        """`keep` names what stays the worker's, if it is not root."""
        try:
            if self._account and self._account.sudo:
                run, folder = str(self._context.run), self._context.folder
                give = partial(self._launcher.given.give, run, folder, self._account, keep)
                await run_blocking(give, limit=OWN_TIME, doing="giving a folder to an account", grace=OWN_GRACE)
            else:
                self._folder.give()
        except OSError as error:
            raise local_failure(f"the run's folder could not be given to its account: {error}", error) from None

    async def _launch(
        self, launcher: Launcher, command: list[str], folder: Path, stdin: int, writing_stdin: int | None
    ) -> ProcessExecution:
        outputs, stdout, stderr = open_outputs(separate=self._payload is not None and self._payload.separate_stderr)
        start = Start(command, launcher.env, folder, self._account, stdin, stdout, stderr)
        try:
            child, group = await launcher.launch(start, "")
        except BaseException:
            for number in (*outputs.values(), *([] if writing_stdin is None else [writing_stdin])):
                os.close(number)
            raise
        return ProcessExecution(launcher, OneCommand(launcher, child, group), outputs, writing_stdin)

    async def _start_steps(
        self, launcher: Launcher, steps: Sequence[StepSpec], env: Mapping[str, str], *, stdin: bool
    ) -> ProcessExecution:
        if stdin:
            raise NotSupported("a standard input for a task of several steps")
        files = await make_in_thread(partial(make_files, launcher))
        try:
            await self._give_folder(keep=[STEP_FOLDER])
        except TaskFailedInternally:
            files.remove()
            raise
        outputs, stdout, stderr = open_outputs(separate=self._payload is not None and self._payload.separate_stderr)
        sandbox = ProcessSteps(launcher, self._worker_id, stdout=stdout, stderr=stderr)
        sandbox.runner = StepRunner(steps, sandbox, files, self._context, env)
        return ProcessExecution(launcher, sandbox, outputs, None)

    async def discard(self) -> None:
        try:
            await self._launcher.empty_folder()
            await empty_run_folder(self._context.folder)
        finally:
            await self._launcher.release()
