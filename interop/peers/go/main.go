// The go-libp2p peer of the interop harness: listen, dial ADDR, bench ADDR METRIC and kad ROLE (../README.md).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

const (
	dialDeadline  = 60 * time.Second
	benchDeadline = 10 * time.Minute
	kadDeadline   = 45 * time.Second
	pingCount     = 10
	transferBytes = 8 << 20
	usage         = `usage: peer listen
       peer dial ADDR [--negotiation optimistic|classic]
       peer bench ADDR upload|download|ping|streams|connections [--n N] [--concurrency C] [--bytes B] [--streams S]
       peer kad bootstrap
       peer kad provider|querier ADDR KEY_HEX MULTIHASH_HEX`
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		emit(result{"event": "error", "message": err.Error()})
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "listen":
		return listen()
	case len(args) >= 2 && args[0] == "dial":
		negotiation, err := dialOptions(args[2:])
		if err != nil {
			return err
		}
		return within(dialDeadline, func(ctx context.Context) (result, error) { return dial(ctx, args[1], negotiation) })
	case len(args) >= 3 && args[0] == "bench":
		c, err := benchOptions(args[3:])
		if err != nil {
			return err
		}
		return within(benchDeadline, func(ctx context.Context) (result, error) { return bench(ctx, args[1], args[2], c) })
	case len(args) == 2 && args[0] == "kad" && args[1] == "bootstrap":
		return kadServe(nil)
	case len(args) == 5 && args[0] == "kad" && (args[1] == "provider" || args[1] == "querier"):
		target, err := parseKadTarget(args[2:])
		if err != nil {
			return err
		}
		if args[1] == "provider" {
			return kadServe(&target)
		}
		return within(kadDeadline, func(context.Context) (result, error) { return kadQuery(target) })
	}
	return errors.New(usage)
}

func dialOptions(args []string) (string, error) {
	flags := flag.NewFlagSet("dial", flag.ContinueOnError)
	negotiation := flags.String("negotiation", "optimistic", "optimistic or classic")
	err := flags.Parse(args)
	if err != nil || flags.NArg() > 0 || (*negotiation != "optimistic" && *negotiation != "classic") {
		return "", errors.New(usage)
	}
	return *negotiation, nil
}

func benchOptions(args []string) (counts, error) {
	var c counts
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&c.n, "n", 1000, "operations")
	flags.IntVar(&c.concurrency, "concurrency", 1, "operations at once")
	flags.Uint64Var(&c.bytes, "bytes", 256<<20, "bytes in all")
	flags.IntVar(&c.streams, "streams", 1, "parallel streams")
	err := flags.Parse(args)
	if err != nil || flags.NArg() > 0 || c.n < 1 || c.concurrency < 1 || c.bytes < 1 || c.streams < 1 {
		return c, errors.New(usage)
	}
	return c, nil
}

// within prints what work found; a watchdog bounds even the waits that no context reaches.
func within(limit time.Duration, work func(context.Context) (result, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	time.AfterFunc(limit+time.Second, func() {
		emit(result{"event": "error", "message": fmt.Sprintf("not done after %s", limit)})
		os.Exit(1)
	})
	outcome, err := work(ctx)
	if err != nil {
		return err
	}
	outcome["event"] = "done"
	emit(outcome)
	if failed, ok := outcome["errors"].(failures); ok && len(failed) > 0 {
		os.Exit(1)
	}
	return nil
}

func emit(event result) {
	if err := json.NewEncoder(os.Stdout).Encode(event); err != nil {
		panic(err)
	}
}

func listen() error {
	h, err := newHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		return err
	}
	emit(result{"event": "ready", "addr": fmt.Sprintf("%s/p2p/%s", h.Addrs()[0], h.ID()), "agent": agent()})
	untilStopped()
	return h.Close()
}

// untilStopped waits for the end of stdin or for SIGTERM.
func untilStopped() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	<-stop.Done()
}

// dial proves the whole stack against a listener: identify, pings and one large verified exchange.
func dial(ctx context.Context, address, negotiation string) (result, error) {
	h, err := newHost(libp2p.NoListenAddrs)
	if err != nil {
		return nil, err
	}
	identified, err := connect(ctx, h, address)
	if err != nil {
		return nil, err
	}
	remote := identified.Peer
	pinging, stopPinging := context.WithCancel(ctx)
	defer stopPinging()
	var microseconds []int64
	for answer := range ping.Ping(pinging, h, remote) {
		if answer.Error != nil {
			return nil, fmt.Errorf("ping: %w", answer.Error)
		}
		if microseconds = append(microseconds, answer.RTT.Microseconds()); len(microseconds) == pingCount {
			stopPinging()
			break
		}
	}
	if len(microseconds) < pingCount {
		return nil, fmt.Errorf("ping: ended after %d answers", len(microseconds))
	}
	// NewStream is optimistic if and only if the peerstore says that the peer serves the protocol.
	if negotiation == "classic" {
		if err := h.Peerstore().RemoveProtocols(remote, interopID); err != nil {
			return nil, err
		}
	}
	known, err := h.Peerstore().SupportsProtocols(remote, interopID)
	if err != nil {
		return nil, err
	}
	used := "classic"
	if len(known) > 0 {
		used = "optimistic"
	}
	s, err := open(ctx, h, remote, interopID)
	if err != nil {
		return nil, err
	}
	if err := requestInterop(s, transferBytes, transferBytes); err != nil {
		return nil, err
	}
	return result{
		"remote_peer": remote.String(), "agent": identified.AgentVersion, "protocols": identified.Protocols,
		"pings_us": microseconds, "uploaded": transferBytes, "downloaded": transferBytes,
		"verified": true, "half_closed": true, "negotiation": used,
	}, h.Close()
}
