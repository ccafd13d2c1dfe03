"""What a worker runs on, as recorded of each run: other processors and devices round otherwise."""

import json
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from pipeline.files import replace_text
from pipeline.training.runs import Run

ARITHMETIC = ("avx", "fma", "amx", "asimd", "sve")  # beginnings of features that change rounding


@dataclass(frozen=True)
class Host:
    """A worker's machine and device."""

    host: str  # its name in the network
    processor: str  # architecture and vector instructions, such as x86_64 avx avx2 fma
    tensorflow: str  # version and build
    device: str  # cpu, or the GPU's name

    @property
    def kind(self) -> tuple[str, ...]:
        """Equal where the same program rounds alike."""
        return self.processor, self.tensorflow, self.device


def this_host() -> Host:
    """The host of this process, which must have imported TensorFlow."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    device = details.get("device_name", "gpu") if gpus else "cpu"
    features = [word for word in processor_features().split() if word.startswith(ARITHMETIC)]
    processor = " ".join([platform.machine(), *sorted(features)])
    build = f"{tf.version.VERSION} {tf.version.GIT_VERSION}"
    return Host(platform.node(), processor, build, device)


@cache
def processor_features() -> str:
    """The features of the processor, separated by spaces; its name where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return line.partition(":")[2].strip()


class Hosts:
    """The host of each finished run of a study: lines of JSON beside its journal.

    They are told, not trusted: a line that a killed process left incomplete is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, keys: Sequence[str], host: Host | None) -> None:
        """Adds the host that has trained the runs with these keys, if it is known."""
        if host is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"keys": [*keys], **asdict(host)}) + "\n")

    def keep(self, keys: Collection[str]) -> None:
        """Removes all but these runs."""
        kept = {key: host for key, host in self._known().items() if key in keys}
        if self._path.exists():
            lines = (json.dumps({"keys": [key], **asdict(host)}) for key, host in kept.items())
            replace_text(self._path, "".join(f"{line}\n" for line in lines))

    def of(self, runs: Iterable[Run]) -> dict[str, Host]:
        """The hosts of these runs by key, without those that are not known."""
        known = self._known()
        return {run.key: known[run.key] for run in runs if run.key in known}

    def _known(self) -> dict[str, Host]:
        known: dict[str, Host] = {}
        for line in self._path.read_text("utf-8").splitlines() if self._path.exists() else []:
            try:
                entry = json.loads(line)
                known |= dict.fromkeys(entry.pop("keys"), Host(**entry))
            except (ValueError, TypeError, KeyError):
                continue
        return known


def told(runs: Sequence[Run], hosts: Mapping[str, Host]) -> str:
    """What a page says where final runs that are compared were trained on different kinds of host.

    Runs are compared with those of the same setting, search, replicate and seed. Empty where all
    known hosts are of one kind.
    """
    kinds: dict[tuple[object, ...], set[tuple[str, ...]]] = {}
    for run in runs:
        if run.key in hosts:
            pair = run.setting, run.size, run.search, run.replicate, run.seed
            kinds.setdefault(pair, set()).add(hosts[run.key].kind)
    if len(all_kinds := sorted(set().union(*kinds.values()))) < 2:
        return ""
    mixed = sum(len(own) > 1 for own in kinds.values())
    return (
        f"Runs were trained on {len(all_kinds)} kinds of machine ({_listed(all_kinds)}), which "
        f"round differently. Of {len(kinds)} sets of runs that are compared, {mixed} have runs "
        "of more than one kind: their differences include this rounding (hosts.csv has each run)."
    )


def _listed(kinds: Sequence[tuple[str, ...]]) -> str:
    """What tells kinds of host apart, such as `cpu, x86_64 with avx512f; cpu, x86_64`."""
    features = [processor.split() for processor, _, _ in kinds]
    common = set.intersection(*map(set, features))
    builds = len({build for _, build, _ in kinds}) > 1
    lines = []
    for (processor, build, device), own in zip(kinds, features, strict=True):
        others = " ".join(word for word in own[1:] if word not in common)
        line = f"{device}, {processor.partition(' ')[0]}" + (f" with {others}" if others else "")
        lines.append(f"{line}, TensorFlow {build}" if builds else line)
    return "; ".join(lines)
