"""A memory behind AXI ports, each of which has pauses of its own and checks what it is told."""

import random

SLAVE_ERROR = 2


def pattern(port, beat):
    """What a memory holds that nobody wrote: 64 bits that tell place and port."""
    return (beat * 0x9E3779B97F4A7C15 + port * 0xDEADBEEFCAFE) & ((1 << 64) - 1)


class Channel:
    """What a master offers: it must stay as it is until it is taken."""

    def __init__(self):
        self.held = None

    def step(self, valid, ready, values):
        """Return the values if they are taken now."""
        assert self.held is None or (valid and values == self.held), "an offer changed"
        self.held = values if valid and not ready else None
        return values if valid and ready else None


class Port:
    """One port. Addresses are in bytes of the port's own memory."""

    def __init__(self, number, port_bytes, burst, *, chance, seed, faults=()):
        self.number, self.bytes, self.burst = number, port_bytes, burst
        self.chance, self.faults = chance, set(faults)
        self.rng = random.Random(seed * 100 + number)
        self.reads, self.bursts, self.responses = [], [], []
        self.asked, self.begun, self.written = [], [], []
        self.on_way = self.most_on_way = self.now = 0

    def check_burst(self, address, length, size, kind):
        """Check what AXI and the master's docstring demand of a burst."""
        beat, odd = divmod(address, self.bytes)
        assert not odd and 1 << size == self.bytes and kind == 1
        assert beat // self.burst == (beat + length) // self.burst, "crosses a boundary"
        return beat

    async def serve_reads(self, ctx, axi):
        """Background: take addresses, give words."""
        channel, shown = Channel(), None
        while True:
            ready = self.rng.random() < self.chance
            ctx.set(axi.arready, ready)
            if shown is None and self.reads and self.rng.random() < self.chance:
                shown = self.reads[0]
            ctx.set(axi.rvalid, shown is not None)
            word = self.rng.getrandbits(64) if shown is None else pattern(self.number, shown[0])
            ctx.set(axi.rdata, word)
            bad = shown is not None and shown[0] in self.faults
            ctx.set(axi.rresp, SLAVE_ERROR if bad else 0)
            ctx.set(axi.rlast, shown is not None and shown[1])
            *_, valid, taken, address, length, size, kind = await ctx.tick().sample(
                axi.arvalid, axi.rready, axi.araddr, axi.arlen, axi.arsize, axi.arburst
            )
            self.now += 1
            offer = channel.step(valid, ready, (address, length, size, kind))
            if shown is not None and taken:
                self.reads.pop(0)
                self.on_way -= 1
                shown = None
            if offer:
                beat = self.check_burst(*offer)
                self.asked.append((beat, length + 1))
                self.reads += [(beat + i, i == length) for i in range(length + 1)]
                self.on_way += length + 1
                self.most_on_way = max(self.most_on_way, self.on_way)

    async def serve_writes(self, ctx, axi):
        """Background: take addresses and words, give responses."""
        addresses, data, shown, count = Channel(), Channel(), None, 0
        while True:
            aw, w = (self.rng.random() < self.chance for _ in range(2))
            w = w and bool(self.bursts)
            ctx.set(axi.awready, aw)
            ctx.set(axi.wready, w)
            if shown is None and self.responses and self.rng.random() < self.chance:
                shown = self.responses[0]
            ctx.set(axi.bvalid, shown is not None)
            ctx.set(axi.bresp, shown or 0)
            (
                *_,
                aw_valid,
                address,
                length,
                size,
                kind,
                w_valid,
                word,
                strobes,
                last,
                b,
            ) = await ctx.tick().sample(
                *(axi.awvalid, axi.awaddr, axi.awlen, axi.awsize, axi.awburst),
                *(axi.wvalid, axi.wdata, axi.wstrb, axi.wlast, axi.bready),
            )
            self.now += 1
            if shown is not None and b:
                self.responses.pop(0)
                shown = None
            word = data.step(w_valid, w, (word, strobes, last))
            if word:
                beat, most = self.bursts[0]
                self.written.append((beat + count, *word[:2]))
                assert word[2] == (count == most), "WLAST is not with the last word"
                count += 1
                if word[2]:
                    bad = any(beat + i in self.faults for i in range(count))
                    self.responses.append(SLAVE_ERROR * bad)
                    self.bursts.pop(0)
                    count = 0
            offer = addresses.step(aw_valid, aw, (address, length, size, kind))
            if offer:
                beat = self.check_burst(*offer)
                self.begun.append((beat, length + 1))
                self.bursts.append((beat, length))
