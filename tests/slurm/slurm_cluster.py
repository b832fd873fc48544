"""A real Slurm of two nodes on this machine, for tests: started from Debian's packages, ended by PID."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# written by MIRROR's tests/slurm\n"
PACKAGES = ("slurm-wlm", "munge")
GPUS = {"n1": (0, 1), "n2": (2, 3)}  # numbers of the device files


def missing() -> str | None:
    """Why no Slurm can be started here, or None. Installs Debian's packages where that is all it takes."""
    if os.geteuid() != 0:
        return "not root: Slurm's daemons and /etc/slurm need it"
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        return "not Debian: packages slurm-wlm and munge are taken from apt"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return "a Slurm is configured on this machine already: /etc/slurm/slurm.conf is left alone"
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        said = ""
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            said = (done.stderr or done.stdout).strip()[-300:]
        if not shutil.which("slurmctld"):
            return f"apt-get could not install {' '.join(PACKAGES)}: {said}"
    return None


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def processes_with(**wanted: str) -> list[int]:
    """PIDs whose environment holds every one of these values."""
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = dict(
                    pair.split("=", 1) for pair in (entry / "environ").read_text().split("\0") if "=" in pair
                )
            except (OSError, UnicodeDecodeError):
                continue
            if all(environment.get(key) == value for key, value in wanted.items()):
                out.append(int(entry.name))
    return out


def end(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Signal one process; one that is gone already is well."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


class Cluster:
    """slurmctld, two slurmd with two fake GPUs each, munged; partitions ``cpu`` and ``gpu``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"mirror{os.getpid()}"
        self.daemons: dict[str, subprocess.Popen] = {}
        self.jobs: dict[str, dict[str, str]] = {}  # every job seen, as scontrol tells it, with "gpus"

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self) -> None:
        host = socket.gethostname()
        for numbers in GPUS.values():
            for n in numbers:
                device = self.folder / f"gpu{n}"
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # /dev/null's twin
        # Both nodes are one machine here: each gets a folder of its own for the locks of its GPUs.
        prolog = self.folder / "prolog.sh"
        prolog.write_text(f"#!/bin/sh\necho export MIRROR_GPU_LOCKS={self.folder}/locks/$SLURMD_NODENAME\n")
        prolog.chmod(0o755)
        ports = {node: free_port() for node in GPUS}
        lines = [
            f"ClusterName={self.name}", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root", "SlurmdUser=root",
            "AuthType=auth/munge", "CredType=cred/munge", f"SlurmctldPort={free_port()}",
            f"StateSaveLocation={self.folder}/state", f"SlurmdSpoolDir={self.folder}/%n",
            f"SlurmctldPidFile={self.folder}/ctld.pid", f"SlurmdPidFile={self.folder}/%n.pid",
            f"SlurmctldLogFile={self.folder}/ctld.log", f"SlurmdLogFile={self.folder}/%n.log",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory,CR_LLN", "DefMemPerCPU=500", "ReturnToService=2", "MinJobAge=3600",
            "SlurmdTimeout=10", "KillWait=2", "SlurmdParameters=config_overrides", "GresTypes=gpu",
            "SchedulerParameters=sched_interval=2,batch_sched_delay=1", "MpiDefault=none", "SwitchType=switch/none",
            f"TaskProlog={prolog}",
            *(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000 Gres=gpu:2"
                for node, port in ports.items()
            ),
            "PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP",
            "PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP",
        ]  # fmt: skip
        ETC.mkdir(exist_ok=True)
        (ETC / "slurm.conf").write_text(MARK + "\n".join(lines) + "\n")
        (ETC / "gres.conf").write_text(
            MARK
            + "".join(f"NodeName={node} Name=gpu File={self.folder}/gpu[{a}-{b}]\n" for node, (a, b) in GPUS.items())
        )
        (self.folder / "state").mkdir()
        for node in GPUS:
            (self.folder / node).mkdir()

    def _daemon(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "w") as out:
            self.daemons[name] = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configure()
        if subprocess.run(["munge", "-n"], capture_output=True).returncode != 0:
            for folder, mode in (("/run/munge", 0o755), ("/var/lib/munge", 0o700), ("/var/log/munge", 0o700)):
                Path(folder).mkdir(parents=True, exist_ok=True)
                shutil.chown(folder, "munge", "munge")
                os.chmod(folder, mode)
            key = Path("/etc/munge/munge.key")
            if not key.exists():
                key.parent.mkdir(exist_ok=True)
                key.write_bytes(os.urandom(1024))
                shutil.chown(key, "munge", "munge")
                key.chmod(0o400)
            self._daemon("munged", "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "-F")
            self._wait(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0, "munged")
        self._daemon("slurmctld", "slurmctld", "-D", "-c")
        for node in GPUS:
            self._daemon(node, "slurmd", "-D", "-N", node)
        self._wait(lambda: self.ask("sinfo", "-h", "-N", "-p", "cpu", "-o", "%t").split() == ["idle"] * 2, "nodes")

    def _wait(self, ready, what: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > until:
                said = "".join(f.read_text(errors="replace")[-800:] for f in self.folder.glob("*.log"))
                raise RuntimeError(f"{what} did not come up in {seconds:g} s\n{said}")
            time.sleep(0.5)

    @staticmethod
    def ask(*command: str) -> str:
        """What a Slurm command says."""
        return subprocess.run(command, capture_output=True, text=True).stdout

    def observe(self) -> list[dict[str, str]]:
        """Look at every job, remember the GPUs of those that run, and return those that run.

        What accounting would know: Slurm forgets a job's devices when it ends.
        """
        for line in self.ask("scontrol", "show", "job", "-d", "-o").splitlines():
            job = dict(re.findall(r"(\S+?)=(\S*)", line))
            if "JobId" not in job:  # "No jobs in the system"
                continue
            gpus = " ".join(re.findall(r"GRES=gpu\S*IDX:([^)]+)\)", line))
            job["gpus"] = gpus or self.jobs.get(job["JobId"], {}).get("gpus", "")
            self.jobs[job["JobId"]] = job
        return [job for job in self.jobs.values() if job["JobState"] == "RUNNING"]

    def kill_job(self, job: str) -> int:
        """kill -9 every process of a job but Slurm's own; how many there were."""
        pids = processes_with(SLURM_JOB_ID=job, SLURM_CLUSTER_NAME=self.name)
        for pid in pids:
            end(pid)
        return len(pids)

    def kill_node(self, node: str) -> None:
        """A node loses its power: its slurmd, its steps and its jobs end at once."""
        daemon = self.daemons.pop(node)
        steps = self._steps(node)
        end(daemon.pid)
        for pid in (*steps, *processes_with(SLURMD_NODENAME=node, SLURM_CLUSTER_NAME=self.name)):
            end(pid)
        daemon.wait()

    def _steps(self, node: str) -> list[int]:
        """PIDs of the slurmstepd of a node's jobs; there is no other Slurm on this machine (see `missing`)."""
        ids = {job["JobId"] for job in self.observe() if job["NodeList"] == node}
        out = []
        for entry in Path("/proc").iterdir():
            try:
                found = re.match(r"slurmstepd: \[(\d+)\.", (entry / "cmdline").read_text())
            except (OSError, UnicodeDecodeError):
                continue
            if found and found[1] in ids:
                out.append(int(entry.name))
        return out

    def stop(self) -> None:
        """End what this cluster started, by PID, and take its configuration away."""
        steps: list[int] = []
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            steps = [pid for node in GPUS for pid in self._steps(node)]
            for job in self.observe():
                subprocess.run(["scancel", job["JobId"]], capture_output=True)
        for pid in processes_with(SLURM_CLUSTER_NAME=self.name):
            end(pid)
        for name in (*GPUS, "slurmctld", "munged"):
            daemon = self.daemons.pop(name, None)
            if daemon:
                daemon.terminate()
                try:
                    daemon.wait(15)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
        for pid in steps:
            end(pid)
        for name in ("slurm.conf", "gres.conf"):
            file = ETC / name
            if file.exists() and file.read_text().startswith(MARK):
                file.unlink()
