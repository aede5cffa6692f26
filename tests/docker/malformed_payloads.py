# ruff: noqa: E501  one line for each row
"""Every kind of mistake in a task for Docker, and what its author reads: one row each, for review.

A row is the task without its platform and, unless it names one, its image; and the complaint. `WORKER` is the
configuration of the worker that refuses it.
"""

from __future__ import annotations

from typing import Any

WORKER: dict[str, Any] = {
    "limits": {"maximum": {"shm": "1GiB", "disk": "20GiB"}},
    "allow": {
        "capabilities": ["SYS_PTRACE"],
        "devices": ["/dev/dri/*"],
        "host_folders": {"/srv/models": "read-only"},
    },
}

BYTES = '(write a whole number of bytes, or a text with its unit: "512MiB", "1.5GB")'
COUNTS = "(name it with lower-case letters, digits, `_` and `-`, and count it in whole numbers from 1)"
ULIMITS = (
    "(known are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, rss, rtprio, rttime, sigpending, "
    "stack, from 0; for processes, write `pids` in `resources`)"
)
FOLDERS = '(write full paths and a size of at least a page: {"/tmp" = "256MiB"})'
USER = "(write a name or number, with or without a group: 1000:1000)"
NAMED = "(write it as registry.example/team/app:1.0)"
KEY = {"secret": "deploy"}
INLINE = '(write "inline", and name the pushed image in `cache_from` of later builds)'
DB = {"name": "db", "image": "postgres:16"}
URL = "https://files.example/app.tar"
CAPS = "(write names without CAP_, in capitals: NET_RAW)"

# fmt: off
RESOURCES: list[tuple[dict[str, Any], str]] = [
    ({"resources": {"memory": "512M"}}, f"resources.memory: is no number of bytes {BYTES}"),
    ({"resources": {"memory": 1.5}}, f"resources.memory: is no number of bytes {BYTES}"),
    ({"resources": {"memory": "1MiB"}}, "resources.memory: must be at least 6MiB"),
    ({"resources": {"memory": -1}}, "resources.memory: must be at least 6MiB"),
    ({"resources": {"memory": "9999999TiB"}}, "resources.memory: must be at most 1048576TiB"),
    ({"resources": {"cpus": 0}}, "resources.cpus: must be at least 0.01"),
    ({"resources": {"cpus": "2"}}, "resources.cpus: expected a number, got a text (write it without quotes)"),
    ({"resources": {"pids": 0}}, "resources.pids: must be at least 1"),
    ({"resources": {"pids": 4.5}}, "resources.pids: expected a whole number, got a number with a fraction (write it without quotes and fraction)"),
    ({"resources": {"gpu": 0}}, f"resources.gpu: must be at least 1 {COUNTS}"),
    ({"resources": {"GPU": 1}}, f"resources.GPU: is not of the form it needs {COUNTS}"),
    ({"resources": ["gpu"]}, "resources: expected a table, got a list (write keys and values)"),
]

LIMITS: list[tuple[dict[str, Any], str]] = [
    ({"limits": {"memory": "1GiB"}}, "limits.memory: is not known here (known are disk, shm, tmpfs, ulimits)"),
    ({"limits": {"shm": 0}}, "limits.shm: must be at least 4KiB"),
    ({"limits": {"shm": "2GiB"}}, "limits.shm: 2GiB is more than this worker allows, 1GiB (ask for less, or let the operator raise shm in [docker.limits.maximum])"),
    ({"limits": {"disk": "lots"}}, f"limits.disk: is no number of bytes {BYTES}"),
    ({"limits": {"disk": "21GiB"}}, "limits.disk: 21GiB is more than this worker allows, 20GiB (ask for less, or let the operator raise disk in [docker.limits.maximum])"),
    ({"limits": {"tmpfs": {"tmp": "1MiB"}}}, f"limits.tmpfs.tmp: is not of the form it needs {FOLDERS}"),
    ({"limits": {"tmpfs": {"/a,exec": "1MiB"}}}, f'limits.tmpfs["/a,exec"]: is not of the form it needs {FOLDERS}'),
    ({"limits": {"tmpfs": {"/": "1MiB"}}}, f'limits.tmpfs["/"]: is not of the form it needs {FOLDERS}'),
    ({"limits": {"tmpfs": {"/tmp": 1}}}, f'limits.tmpfs["/tmp"]: must be at least 4KiB {FOLDERS}'),
    ({"limits": {"tmpfs": {"/a/../b": "1MiB"}}}, 'limits.tmpfs["/a/../b"]: is not plain (write it without . and ..)'),
    ({"limits": {"ulimits": {"nproc": 10}}}, f"limits.ulimits.nproc: must be one of core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, rss, rtprio, rttime, sigpending, stack {ULIMITS}"),
    ({"limits": {"ulimits": {"nofile": -1}}}, f"limits.ulimits.nofile: must be at least 0 {ULIMITS}"),
    ({"limits": {"ulimits": {"nofile": "many"}}}, "limits.ulimits.nofile: expected a whole number, got a text (write it without quotes and fraction)"),
]

ISOLATION: list[tuple[dict[str, Any], str]] = [
    ({"isolation": {"user": "a b"}}, f"isolation.user: is not of the form it needs {USER}"),
    ({"isolation": {"user": 1000}}, "isolation.user: expected a text, got a whole number (write it in quotes)"),
    ({"isolation": {"root": False}}, "isolation.root: is not known here (known are capabilities, devices, gpus, host_folders, new_privileges, privileged, read_only_root, user)"),
    ({"isolation": {"read_only_root": 1}}, "isolation.read_only_root: expected true or false, got a whole number (write true or false, without quotes)"),
    ({"isolation": {"capabilities": ["CAP_net_raw"]}}, f"isolation.capabilities[0]: is not of the form it needs {CAPS}"),
    ({"isolation": {"capabilities": ["NET_RAW", "SYS_PTRACE", "SYS_ADMIN"]}}, "isolation.capabilities[2]: this worker gives no container SYS_ADMIN (leave it out, or let the operator add it to `capabilities` in [docker.allow])"),
    ({"isolation": {"capabilities": ["ALL"]}}, "isolation.capabilities[0]: this worker gives no container ALL (leave it out, or let the operator add it to `capabilities` in [docker.allow])"),
    ({"isolation": {"privileged": True}}, "isolation.privileged: this worker runs no privileged containers (leave it out, or let the operator set `privileged` in [docker.allow])"),
    ({"isolation": {"privileged": True, "new_privileges": True}}, "isolation.new_privileges: is part of `privileged` (leave one of them out)"),
    ({"isolation": {"devices": ["kvm"]}}, "isolation.devices[0]: is not of the form it needs (write a path below /dev: /dev/kvm)"),
    ({"isolation": {"devices": ["/dev/kvm"]}}, "isolation.devices[0]: this worker gives no container /dev/kvm (leave it out, or let the operator add it to `devices` in [docker.allow])"),
    ({"isolation": {"devices": ["/dev/dri/../mem"]}}, "isolation.devices[0]: is not plain (write it without . and ..)"),
    ({"isolation": {"gpus": 1}}, "isolation.gpus: this worker gives no container a GPU (leave it out, or let the operator set `gpus` in [docker.allow])"),
    ({"isolation": {"gpus": -1}}, "isolation.gpus: must be at least 0"),
    ({"isolation": {"host_folders": [{"path": "/etc", "target": "/e"}]}}, "isolation.host_folders[0]: this worker gives no container /etc (leave it out, or let the operator add it to `host_folders` in [docker.allow])"),
    ({"isolation": {"host_folders": [{"path": "/srv/models/x", "target": "/m"}]}}, "isolation.host_folders[0]: this worker gives no container /srv/models/x (leave it out, or let the operator add it to `host_folders` in [docker.allow])"),
    ({"isolation": {"host_folders": [{"path": "/srv/models", "target": "/m", "read_only": False}]}}, 'isolation.host_folders[0].read_only: this worker lets containers read /srv/models only (leave it out, or let the operator make it "read-write" in `host_folders` in [docker.allow])'),
    ({"isolation": {"host_folders": [{"path": "/srv/models/../../etc", "target": "/m"}]}}, "isolation.host_folders[0].path: is not plain (write it without . and ..)"),
    ({"isolation": {"host_folders": [{"path": "/srv/models", "target": "/"}]}}, "isolation.host_folders[0].target: is the container's root (name a folder of its own)"),
    ({"isolation": {"host_folders": [{"path": "srv", "target": "/m"}]}}, "isolation.host_folders[0].path: is not of the form it needs (write the full path)"),
    ({"isolation": {"host_folders": [{"path": "/srv/models"}]}}, "isolation.host_folders[0].target: is missing (add it)"),
]

IMAGES: list[tuple[dict[str, Any], str]] = [
    ({"image": ""}, "image: is missing (name the image to run, or write an `image_file` or a `build`)"),
    ({"image": "Web:1"}, f"image: 'Web:1' is no image name: the name 'Web' must be in lower case {NAMED}"),
    ({"image": "web:1:2"}, "image: 'web:1:2' is no image name: '1:2' is no tag: up to 128 letters, digits and _ . -, and no . or - in front (write it as registry.example/team/app:1.0)"),
    ({"image": "web//app"}, f"image: 'web//app' is no image name: the name 'web//app' is not of lower-case letters and digits, separated by one of / . _ - {NAMED}"),
    ({"image": "web@sha256:12"}, "image: 'web@sha256:12' is no image name: after @ comes a digest such as sha256:… with 64 hexadecimal digits (write it as registry.example/team/app:1.0)"),
    ({"image": 7}, "image: expected a text, got a whole number (write it in quotes)"),
    ({"build": {}, "image": "web"}, "build: stands beside `image` (a task either runs an image or builds one: make it two tasks)"),
    ({"pull_policy": "always"}, "pull_policy: expected a list, got a text (write a list in brackets, even of one)"),
    ({"pull_policy": ["sometimes"]}, "pull_policy[0]: is not one of the choices (known are always, if-not-present, never)"),
    ({"image_file": {"url": URL, "sha256": "0" * 64}}, "image_file: stands beside `image` (leave one of them out)"),
    ({"image": "", "build": {}, "image_file": {"path": "/a"}}, "image_file: stands beside `build` (leave one of them out)"),
    ({"image": "", "image_file": {}}, "image_file: names no file (write `url` and `sha256`, or `path`)"),
    ({"image": "", "image_file": {"url": URL}}, "image_file.sha256: is missing beside `url` (write the 64 hex digits that `sha256sum` prints)"),
    ({"image": "", "image_file": {"url": URL, "sha256": "abc"}}, "image_file.sha256: is not of the form it needs (write the 64 hex digits that `sha256sum` prints)"),
    ({"image": "", "image_file": {"url": "file:///etc/passwd", "sha256": "0" * 64}}, "image_file.url: is not of the form it needs (write an https:// URL)"),
    ({"image": "", "image_file": {"path": "app.tar"}}, "image_file.path: is not of the form it needs (write the full path)"),
    ({"image": "", "image_file": {"url": URL, "path": "/a", "sha256": "0" * 64}}, "image_file.path: stands beside `url` (leave one of them out)"),
    ({"image": "", "image_file": {"path": "/a", "token": KEY}}, "image_file.token: is of no use for a path (leave it out)"),
    ({"image": "", "image_file": {"path": "/a"}, "pull_policy": ["always"]}, "pull_policy: means nothing to an image file (leave it out)"),
    ({"image": "", "image_file": {"from_queue": "image", "path": "/a"}}, "image_file.from_queue: stands beside other fields (leave them out)"),
    ({"image": "", "image_file": "/a"}, "image_file: expected a table, got a text (write keys and values)"),
]

COMMANDS: list[tuple[dict[str, Any], str]] = [
    ({"command": "make test"}, "command: expected a list, got a text (write a list in brackets, even of one)"),
    ({"command": ["a\0b"]}, "command: holds a zero byte (no program takes one in its arguments)"),
    ({"command": ["make"], "steps": [{"run": "make"}]}, "command: stands beside `steps` (leave one of them out)"),
    ({"working_dir": "src"}, "working_dir: 'src' is relative (write the full path in the container)"),
    ({"steps": [{"run": "make", "command": ["make"]}]}, "steps[0].command: stands beside `run` (leave one of them out, or make it two steps)"),
    ({"steps": [{}]}, "steps[0]: runs nothing (give it a `run` or a `command`)"),
    ({"comand": ["make"]}, "comand: is not known here (did you mean command?)"),
]

NETWORKS: list[tuple[dict[str, Any], str]] = [
    ({"network": "vpn"}, "network: is not one of the choices (known are bridge, host, isolated, none)"),
    ({"network": "host"}, 'network: this worker does not allow "host" (take "bridge", or let the operator set [docker] host_network)'),
    ({"services": [{"name": "db"}]}, "services[0].image: is missing (add it)"),
    ({"services": [{**DB, "name": "Data_Base"}]}, "services[0].name: is not of the form it needs (use up to 63 lower-case letters, digits and `-`, and another name than localhost: db)"),
    ({"services": [{**DB, "command": "postgres"}]}, "services[0].command: expected a list, got a text (write a list in brackets, even of one)"),
    ({"services": [{**DB, "ready": 5432}]}, "services[0].ready: expected a table, got a whole number (write keys and values)"),
    ({"services": [{**DB, "ready": {"port": 1, "command": ["x"]}}]}, "services[0].ready: has both a port and a command (leave one of them out)"),
    ({"services": [{**DB, "limit": 0}]}, "services[0].limit: must be at least 1 s"),
    ({"services": [{**DB, "isolation": {"privileged": True}}]}, "services[0].isolation: is not known here (known are command, env, image, limit, name, ready, resources, secrets)"),
    ({"services": [DB, DB]}, "services: db is named twice (give every service its own name)"),
    ({"services": [{**DB, "resources": {"gpu": 1}}]}, "services[0].resources.gpu: is counted for the whole run (write it as `resources.gpu` of the task)"),
    ({"services": [{**DB, "resources": {"memory": "1MiB"}}]}, "services[0].resources.memory: must be at least 6MiB"),
    ({"resources": {"memory": "64MiB"}, "services": [{**DB, "resources": {"memory": "60MiB"}}]}, "resources.memory: leaves each container that has no part of its own less than memory 6MiB (raise it, or let the services ask for less of it)"),
]

INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"interactive": "yes"}, "interactive: expected true or false, got a text (write true or false, without quotes)"),
    ({"interactive": True, "steps": [{"command": ["make"]}]}, "interactive: stands beside `steps`, which leaves no input to keep open (leave one of them out)"),
    ({"interactive": True, "build": {}}, "interactive: stands beside `build`, which leaves no input to keep open (leave one of them out)"),
]

BESIDE_BUILDS: list[tuple[dict[str, Any], str]] = [
    ({"build": {}, "limits": {"shm": "1MiB"}}, "limits: means nothing to a build (leave it out)"),
    ({"build": {}, "isolation": {"user": "1000"}}, "isolation: means nothing to a build (leave it out)"),
    ({"build": {}, "network": "none"}, "network: means nothing to a build (leave it out)"),
    ({"build": {}, "command": ["make"]}, "command: means nothing to a build (write it into the Dockerfile)"),
    ({"build": {}, "pull_policy": ["always"]}, "pull_policy: means nothing to a build (leave it out: BuildKit looks up each base image)"),
]

SPECS: list[tuple[dict[str, Any], str]] = [
    ({"dockerfile": "/etc/passwd"}, "build.dockerfile: '/etc/passwd' leaves the repository (write a relative path without ..)"),
    ({"dockerfile": ""}, "build.dockerfile: '' leaves the repository (write a relative path without ..)"),
    ({"context": "../up"}, "build.context: '../up' leaves the repository (write a relative path without ..)"),
    ({"context": "web", "keep_git": True}, 'build.keep_git: needs the whole repository as the context (leave `context` as ".")'),
    ({"push": True}, "build.tags: is empty (to push, name the image: registry.example/team/app:1.0)"),
    ({"tags": ["Web:1"]}, "build.tags[0]: 'Web:1' is no image name: the name 'Web' must be in lower case (write it as registry.example/team/app:1.0)"),
    ({"tags": ["web@sha256:00"]}, "build.tags[0]: 'web@sha256:00' names a digest (the digest comes out of the push: give a tag)"),
    ({"tags": ["taskrunner-build/x:1"]}, "build.tags[0]: taskrunner-build is where the worker keeps images meanwhile (take another name)"),
    ({"registry": "registry.example"}, "build.registry: has no effect without `push` (set `push`, or leave it out)"),
    ({"tags": ["web:1"], "push": True, "registry": "https://registry.example"}, "build.registry: 'https://registry.example' is no registry (write host and port: registry.example)"),
    ({"tags": "web:1"}, "build.tags: expected a list, got a text (write a list in brackets, even of one)"),
    ({"labels": {"taskrunner.worker": "w"}}, "build.labels['taskrunner.worker']: is a label of the worker's own containers (take another name)"),
    ({"build_args": {"N": 1}}, "build.build_args.N: expected a text, got a whole number (write it in quotes)"),
    ({"dockrfile": "x"}, "build.dockrfile: is not known here (did you mean dockerfile?)"),
    ({"ssh": {}}, 'build.ssh: names no key (write keys = { default = { secret = "its name" } }, or agent = true)'),
    ({"ssh": {"keys": {"default": KEY}, "agent": True}}, "build.ssh.agent: and the key `default` are the same mount (give the key another id, or leave one out)"),
    ({"ssh": {"keys": {"a b": KEY}}}, "build.ssh.keys['a b']: is no id of a mount (take up to 64 letters, digits and _ . -)"),
    ({"ssh": {"keys": {f"k{n}": KEY for n in range(17)}}}, "build.ssh.keys: has more than 16 keys (servers let a client try about six)"),
    ({"ssh": {"keys": {"web": {"file": "/root/.ssh/id"}}}}, 'build.ssh.keys.web: expected a secret, got a table (write {secret = "its name in the worker\'s configuration"})'),
    ({"ssh": {"agent": "yes"}}, "build.ssh.agent: expected true or false, got a text (write true or false, without quotes)"),
    ({"extra_hosts": {"db": "database"}}, "build.extra_hosts['db']: 'database' is no IP address (write one such as 10.0.0.7, and no name)"),
    ({"extra_hosts": {"a b": "10.0.0.1"}}, "build.extra_hosts['a b']: is no name of a host (write letters, digits, - and . only)"),
    ({"extra_hosts": {"db:1": "10.0.0.1"}}, "build.extra_hosts['db:1']: is no name of a host (write letters, digits, - and . only)"),
    ({"extra_hosts": {f"h{n}": "10.0.0.1" for n in range(201)}}, "build.extra_hosts: has more than 200 names (use a DNS server)"),
    ({"cache_from": ["type=registry,ref=web"]}, "build.cache_from[0]: 'type=registry,ref=web' names a kind of cache, and Docker's API takes images alone (name an image that was built with cache_to = \"inline\")"),
    ({"cache_from": ["Web"]}, "build.cache_from[0]: 'Web' is no image name: the name 'Web' must be in lower case (write it as registry.example/team/app:main)"),
    ({"cache_from": ["web"] * 33}, "build.cache_from: has more than 32 images (name the one or two that are alike)"),
    ({"cache_to": "type=registry,ref=web"}, f"build.cache_to: 'type=registry,ref=web' is a cache that Docker's API does not write: it writes `inline`, into the image itself {INLINE}"),
    ({"limits": {}}, "build.limits: names no limit (write memory, cpus or both, or leave it out)"),
    ({"limits": {"memory": 1000}}, "build.limits.memory: must be at least 6MiB"),
    ({"limits": {"memory": "1MiB"}}, "build.limits.memory: must be at least 6MiB"),
    ({"limits": {"cpus": 0}}, "build.limits.cpus: must be at least 0.01"),
    ({"limits": {"gpus": 1}}, "build.limits.gpus: is not known here (did you mean cpus?)"),
    ({"cache_to": "inline"}, "build.cache_to: is of no use without `push` (it is a part of the image: push that, or leave it out)"),
    ({"tags": ["web:1"]}, "build.tags[0]: this worker does not give the name 'web:1' in its Docker (set `push`, leave the name out, or let the operator add it to [docker] local_tags)"),
]

BUILDS = [*BESIDE_BUILDS, *(({"build": spec}, message) for spec, message in SPECS)]

# fmt: on
ROWS = [*IMAGES, *COMMANDS, *NETWORKS, *RESOURCES, *LIMITS, *ISOLATION, *INPUTS, *BUILDS]
