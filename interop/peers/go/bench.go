package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// counts are the options of bench.
type counts struct {
	n, concurrency, streams int
	bytes                   uint64
}

// result is one line of output.
type result map[string]any

// measure does the measured work of one metric over an established, identified connection.
type measure func(ctx context.Context, h host.Host, to peer.ID, c counts) (result, error)

var measures = map[string]measure{
	"upload": func(ctx context.Context, h host.Host, to peer.ID, c counts) (result, error) {
		return transfer(ctx, h, to, c, true)
	},
	"download": func(ctx context.Context, h host.Host, to peer.ID, c counts) (result, error) {
		return transfer(ctx, h, to, c, false)
	},
	"ping":    pings,
	"streams": echoes,
}

// bench measures one metric against another peer's listen.
func bench(ctx context.Context, address, metric string, c counts) (result, error) {
	if metric == "connections" {
		return benchConnections(ctx, address, c)
	}
	measured, known := measures[metric]
	if !known {
		return nil, errors.New(usage)
	}
	h, err := newHost(libp2p.NoListenAddrs)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	identified, err := connect(ctx, h, address)
	if err != nil {
		return nil, err
	}
	return timed(metric, func() (result, error) { return measured(ctx, h, identified.Peer, c) })
}

// timed adds to a result the seconds of wall clock and of this process's CPU that work took.
func timed(metric string, work func() (result, error)) (result, error) {
	cpu, start := cpuTime(), time.Now()
	outcome, err := work()
	if err != nil {
		return nil, err
	}
	outcome["seconds"] = time.Since(start).Seconds()
	outcome["cpu_seconds"] = (cpuTime() - cpu).Seconds()
	outcome["metric"] = metric
	return outcome, nil
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// together runs work once for each index below n, all at once.
func together(n int, work func(index int) error) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for index := range n {
		group.Go(func() { errs[index] = work(index) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// repeat runs work n times, concurrency at once, telling it which of the workers it is.
func repeat(n, concurrency int, work func(worker int) error) error {
	var started atomic.Int64
	return together(min(n, concurrency), func(worker int) error {
		for started.Add(1) <= int64(n) {
			if err := work(worker); err != nil {
				return err
			}
		}
		return nil
	})
}

// open starts a stream that ends with the context.
func open(ctx context.Context, h host.Host, to peer.ID, id protocol.ID) (network.Stream, error) {
	s, err := h.NewStream(ctx, to, id)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	return s, nil
}

func transfer(ctx context.Context, h host.Host, to peer.ID, c counts, up bool) (result, error) {
	share := c.bytes / uint64(c.streams)
	err := together(c.streams, func(int) error {
		s, err := open(ctx, h, to, perfID)
		if err != nil {
			return err
		}
		if up {
			return requestPerf(s, share, 0)
		}
		return requestPerf(s, 0, share)
	})
	return result{"bytes": share * uint64(c.streams), "streams": c.streams}, err
}

func pings(ctx context.Context, h host.Host, to peer.ID, c counts) (result, error) {
	s, err := open(ctx, h, to, ping.ID)
	if err != nil {
		return nil, err
	}
	times := make([]int64, c.n)
	payload, pong := make([]byte, ping.PingSize), make([]byte, ping.PingSize)
	for i := range times {
		rand.Read(payload)
		start := time.Now()
		if _, err := s.Write(payload); err != nil {
			return nil, fmt.Errorf("ping %d: %w", i, err)
		}
		if _, err := io.ReadFull(s, pong); err != nil {
			return nil, fmt.Errorf("ping %d: %w", i, err)
		}
		times[i] = time.Since(start).Microseconds()
		if !bytes.Equal(payload, pong) {
			return nil, fmt.Errorf("pong %d differs from the ping", i)
		}
	}
	slices.Sort(times)
	quantile := func(q float64) int64 { return times[int(q*float64(c.n-1))] }
	return result{"n": c.n, "min_us": quantile(0), "median_us": quantile(0.5), "p99_us": quantile(0.99)}, s.Close()
}

func echoes(ctx context.Context, h host.Host, to peer.ID, c counts) (result, error) {
	err := repeat(c.n, c.concurrency, func(int) error {
		s, err := open(ctx, h, to, echoID)
		if err != nil {
			return err
		}
		return requestEcho(s)
	})
	return result{"n": c.n, "concurrency": c.concurrency}, err
}

// benchConnections gives each concurrent dialer a host of its own: one host would reuse its connection to the peer.
func benchConnections(ctx context.Context, address string, c counts) (result, error) {
	target, err := peer.AddrInfoFromString(address)
	if err != nil {
		return nil, err
	}
	hosts := make([]host.Host, c.concurrency)
	for i := range hosts {
		if hosts[i], err = newHost(libp2p.NoListenAddrs); err != nil {
			return nil, err
		}
		defer hosts[i].Close()
	}
	return timed("connections", func() (result, error) {
		err := repeat(c.n, c.concurrency, func(worker int) error {
			h := hosts[worker]
			if err := h.Connect(ctx, *target); err != nil {
				return err
			}
			s, err := open(ctx, h, target.ID, echoID)
			if err != nil {
				return err
			}
			if err := requestEcho(s); err != nil {
				return err
			}
			return h.Network().ClosePeer(target.ID)
		})
		return result{"n": c.n, "concurrency": c.concurrency}, err
	})
}
