package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// The three test protocols (../README.md), both sides of each.
const (
	interopID protocol.ID = "/peerstack/interop/1.0.0"
	perfID    protocol.ID = "/perf/1.0.0"
	echoID    protocol.ID = "/peerstack/bench-echo/1.0.0"

	chunkBytes       = 64 << 10
	echoBytes        = 64
	maxTransferBytes = 64 << 20
	streamDeadline   = 10 * time.Minute
)

var (
	handlers = map[protocol.ID]func(network.Stream) error{interopID: serveInterop, perfID: servePerf, echoID: serveEcho}
	zeros    = make([]byte, chunkBytes)
)

// bounded runs a handler, then closes the stream, or resets it if the handler failed.
func bounded(serve func(network.Stream) error) network.StreamHandler {
	return func(s network.Stream) {
		s.SetDeadline(time.Now().Add(streamDeadline))
		if err := serve(s); err != nil {
			log.Printf("%s: %v", s.Protocol(), err)
			s.Reset()
			return
		}
		s.Close()
	}
}

// pattern reads as SHA-256(u64 BE 0) || SHA-256(u64 BE 1) || ... without an end.
type pattern struct {
	counter uint64
	rest    []byte
}

func (p *pattern) Read(into []byte) (int, error) {
	done := copy(into, p.rest)
	p.rest = p.rest[done:]
	var index [8]byte
	for done < len(into) {
		binary.BigEndian.PutUint64(index[:], p.counter)
		p.counter++
		block := sha256.Sum256(index[:])
		taken := copy(into[done:], block[:])
		p.rest = append(p.rest[:0], block[taken:]...)
		done += taken
	}
	return done, nil
}

// send writes total bytes of source in chunks.
func send(w io.Writer, source io.Reader, total uint64) error {
	chunk := make([]byte, chunkBytes)
	for total > 0 {
		n := min(total, chunkBytes)
		if _, err := io.ReadFull(source, chunk[:n]); err != nil {
			return err
		}
		if _, err := w.Write(chunk[:n]); err != nil {
			return err
		}
		total -= n
	}
	return nil
}

// receivePattern reads to the end; it fails unless exactly total bytes of the pattern came. It returns their hash.
func receivePattern(r io.Reader, total uint64) ([]byte, error) {
	var expected pattern
	digest := sha256.New()
	received := uint64(0)
	chunk, want := make([]byte, chunkBytes), make([]byte, chunkBytes)
	for {
		n, err := r.Read(chunk)
		received += uint64(n)
		if received > total {
			return nil, fmt.Errorf("more than the %d bytes announced", total)
		}
		expected.Read(want[:n])
		if !bytes.Equal(chunk[:n], want[:n]) {
			return nil, fmt.Errorf("content differs before byte %d", received)
		}
		digest.Write(chunk[:n])
		switch {
		case errors.Is(err, io.EOF) && received == total:
			return digest.Sum(nil), nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("stream ended after %d of %d bytes", received, total)
		case err != nil:
			return nil, err
		}
	}
}

// requestInterop is the dialer's side: the pattern up, half-close, its hash and the pattern back.
func requestInterop(s network.Stream, upload, download uint64) error {
	header := binary.BigEndian.AppendUint64(nil, upload)
	header = binary.BigEndian.AppendUint64(header, download)
	if _, err := s.Write(header); err != nil {
		return err
	}
	digest := sha256.New()
	if err := send(s, io.TeeReader(&pattern{}, digest), upload); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, digest.Sum(nil)) {
		return errors.New("the hash of the upload differs")
	}
	_, err := receivePattern(s, download)
	return err
}

func serveInterop(s network.Stream) error {
	header := make([]byte, 16)
	if _, err := io.ReadFull(s, header); err != nil {
		return err
	}
	upload, download := binary.BigEndian.Uint64(header), binary.BigEndian.Uint64(header[8:])
	if upload > maxTransferBytes || download > maxTransferBytes {
		return fmt.Errorf("%d bytes up and %d down: the limit is %d", upload, download, maxTransferBytes)
	}
	digest, err := receivePattern(s, upload)
	if err != nil {
		return err
	}
	if _, err := s.Write(digest); err != nil {
		return err
	}
	return send(s, &pattern{}, download)
}

// sendZeros writes total bytes in chunks without producing them first.
func sendZeros(w io.Writer, total uint64) error {
	for total > 0 {
		n := min(total, chunkBytes)
		if _, err := w.Write(zeros[:n]); err != nil {
			return err
		}
		total -= n
	}
	return nil
}

// requestPerf is the client of https://github.com/libp2p/specs/blob/master/perf/perf.md.
func requestPerf(s network.Stream, upload, download uint64) error {
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, download)); err != nil {
		return err
	}
	if err := sendZeros(s, upload); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	received, err := drain(s)
	if err == nil && received != download {
		err = fmt.Errorf("stream ended after %d of %d bytes", received, download)
	}
	return err
}

func servePerf(s network.Stream) error {
	header := make([]byte, 8)
	if _, err := io.ReadFull(s, header); err != nil {
		return err
	}
	if _, err := drain(s); err != nil {
		return err
	}
	return sendZeros(s, binary.BigEndian.Uint64(header))
}

// drain reads to the end of the stream and returns how many bytes came.
func drain(r io.Reader) (uint64, error) {
	chunk := make([]byte, chunkBytes)
	received := uint64(0)
	for {
		n, err := r.Read(chunk)
		received += uint64(n)
		if errors.Is(err, io.EOF) {
			return received, nil
		}
		if err != nil {
			return received, err
		}
	}
}

// requestEcho makes one small request; both sides close.
func requestEcho(s network.Stream) error {
	if _, err := s.Write(zeros[:echoBytes]); err != nil {
		return err
	}
	if _, err := io.ReadFull(s, make([]byte, echoBytes)); err != nil {
		return err
	}
	return s.Close()
}

func serveEcho(s network.Stream) error {
	request := make([]byte, echoBytes)
	if _, err := io.ReadFull(s, request); err != nil {
		return err
	}
	_, err := s.Write(request)
	return err
}
