"""Everything that ships, put together: a spool, who looks after it, and a carrier for each sink."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from authz.config.log import get_logger
from authz.model.errors import ConfigError
from authz.record.notice import Why
from authz.record.samples import Sample, Samples
from authz.shipping.carrier import NO_TIP, Carrier, MakeChain
from authz.shipping.delivery import Sink
from authz.shipping.errand import Errand
from authz.shipping.housekeeping import Housekeeper
from authz.shipping.open import TRACES
from authz.shipping.parcel import ChainAt
from authz.shipping.positions import UNSAVED_MAX, Positions, file_name
from authz.shipping.report import SinkState
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from authz.shipping.thinning import Thinner

_JOIN_S = 1.0
_GRACE_S = 3.0  # in which a sink that takes everything has had 100 MB and more
_UNSAVED_MIN = 256
_RECORD_BYTES = 1024  # of one record, about
_BATCH_MIN_BYTES = 64 * 1024
_BATCHES = 16  # of a full spool, at least: what is being offered stays in it

_log = get_logger("shipping")


class Shipper:
    """Ships the streams of a spool, from `start` to `close`.

    Raises:
        ConfigError: its key cannot be used.
    """

    def __init__(self, errand: Errand, sinks: Sequence[Sink], spool: Spool) -> None:
        self._errand = errand
        self.spool = spool
        self.thinner = Thinner(errand.spool_bytes, allows_first=errand.on_full == "drop_allows")
        thinner = self.thinner if errand.on_full != "deny" else None
        self._keeper = Housekeeper(spool, thinner, grace_s=_GRACE_S)
        chain = chains(errand.chain_key)
        files = _files(errand, spool)
        self._keeper.remember([path for path, _ in files])
        self.carriers = [
            Carrier(
                sink,
                Positions(path, text, _unsaved_max(errand.spool_bytes)),
                spool,
                self._keeper.passed,
                chain if sink.name != TRACES else None,
                most_bytes=max(_BATCH_MIN_BYTES, errand.spool_bytes // _BATCHES),
            )
            for sink, (path, text) in zip(sinks, files, strict=True)
        ]
        self._keeper.carriers = self.carriers
        self._rounds = -1
        self._drain_rounds: int | None = None

    def start(self) -> None:
        """Begin."""
        self._keeper.start()
        for carrier in self.carriers:
            carrier.start()

    def drain(self) -> None:
        """Nobody writes any more: ship what is left."""
        self._drain_rounds = self._keeper.rounds + 2  # a whole round begins after now
        self._keeper.look_now()
        for carrier in self.carriers:
            carrier.drain()

    @property
    def drained(self) -> bool:
        """Whether every sink has all that was written; while draining, by whoever ended."""
        if not self.spool.whole or (
            self._drain_rounds is not None and self._keeper.rounds < self._drain_rounds
        ):
            return False
        streams = list(self.spool.streams.values())
        over = [stream for stream in streams if not stream.alive]
        if not all(carrier.has_all(stream) for carrier in self.carriers for stream in over):
            return False
        return self._drain_rounds is not None or all(carrier.idle for carrier in self.carriers)

    @property
    def whole(self) -> bool:
        """Whether all threads run: one that ended met a bug of ours."""
        return self._keeper.alive and all(carrier.alive for carrier in self.carriers)

    def moved(self) -> bool:
        """Whether the spool was looked at since this was last asked."""
        rounds, self._rounds = self._rounds, self._keeper.rounds
        return rounds != self._rounds

    def reopen(self) -> None:
        """Have each sink begin afresh at its next batch."""
        for carrier in self.carriers:
            carrier.sink.reopen()

    def close(self) -> bool:
        """End; whether all threads came to theirs."""
        for carrier in self.carriers:
            carrier.stop()
        deadline_s = time.monotonic() + _JOIN_S
        ended = [carrier.join(max(0.0, deadline_s - time.monotonic())) for carrier in self.carriers]
        for carrier, over in zip(self.carriers, ended, strict=True):
            if over:
                carrier.close()
        self._keeper.stop()
        self._keeper.round()  # what the last positions passed can go
        self.spool.close()
        return all(ended)

    def states(self) -> list[SinkState]:
        """Return how each sink stands."""
        return [
            SinkState(carrier.tally.name, carrier.tally.up, carrier.tally.why, carrier.waiting_bytes())
            for carrier in self.carriers
        ]

    def samples(self, now_us: int) -> Samples:
        """Return what was counted, for `/metrics`."""
        thinned = (("allow", self.thinner.allows), ("other", self.thinner.others))
        samples: dict[str, list[Sample]] = {
            "authz_spool_bytes": [((), self.spool.bytes)],
            "authz_spool_limit_bytes": [((), self._errand.spool_bytes)],
            "authz_spool_streams": [((), len(self.spool.streams))],
            "authz_spool_thinned_total": [((kind,), count) for kind, count in thinned],
        }
        for carrier in self.carriers:
            for metric, several in self._of_sink(carrier, now_us).items():
                samples.setdefault(metric, []).extend(several)
        return samples

    def _of_sink(self, carrier: Carrier, now_us: int) -> dict[str, list[Sample]]:
        tally, name = carrier.tally, carrier.tally.name
        results = (("written", tally.written), ("refused", tally.refused))
        # At 0 from the start: a counter that appears with its first event has not increased for Prometheus.
        gaps = {**{why.value: 0 for why in Why}, **dict(tally.gaps)}
        lag_s = max(0, now_us - tally.oldest_us) / 1e6 if tally.oldest_us else 0.0
        return {
            "authz_records_total": [((name, result), count) for result, count in results],
            "authz_record_errors_total": [((name,), tally.errors)],
            "authz_record_sink_up": [((name,), float(tally.up))],
            "authz_record_lag_seconds": [((name,), lag_s)],
            "authz_record_lag_bytes": [((name,), carrier.waiting_bytes())],
            "authz_record_gaps_total": [((name, why), count) for why, count in gaps.items()],
        }


def chains(key: Path | None) -> MakeChain | None:
    """Return what makes chains with this key; None without one.

    Raises:
        ConfigError: it cannot be used.
    """
    if key is None:
        return None
    from authz.record.chain import Chain, read_key  # loads `cryptography`

    private = read_key(key)

    def make(stream: Stream, after: str) -> ChainAt:
        tip = "" if after == NO_TIP else after
        return lambda state: Chain(private, stream.sidecar, stream.name, state, tip)

    return make


def _unsaved_max(spool_bytes: int) -> int:
    """Return how many records may be uncertain after a kill: what they take in a spool cannot be thinned."""
    return min(UNSAVED_MAX, max(_UNSAVED_MIN, spool_bytes // _BATCHES // _RECORD_BYTES))


def open_spool(errand: Errand, patience_s: float) -> Spool:
    """Return the spool, as the only one who ships from it.

    Raises:
        ConfigError: it is of no use, or another one ships from it for longer than that.
    """
    spool = Spool(errand.spool)
    try:
        claimed = spool.claim(time.monotonic() + patience_s)
    except OSError as error:
        words = (error.strerror or "cannot be used").lower()
        raise ConfigError(
            f"record_spool: `{errand.spool}`: {words}; name a directory that this user alone may use"
        ) from None
    if not claimed:
        spool.close()
        raise ConfigError(
            f"record_spool: `{errand.spool}` is still shipped by another authz, which takes our records along"
        )
    return spool


def _files(errand: Errand, spool: Spool) -> list[tuple[Path, str]]:
    """Return where each sink's positions are kept, and its address."""
    files = [(spool.positions / file_name(sink), str(sink)) for sink in errand.sinks]
    if errand.traces is not None:
        files.append((spool.positions / file_name(errand.traces, TRACES), errand.traces.text))
    return files
