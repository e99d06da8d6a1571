package main

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

// each does work on all sessions at once and adds up.
func each(all []*session, work func(i int, s *session, r *reader) (int64, error)) (result.Result, error) {
	begin := time.Now()
	results, errs := make([]result.Result, len(all)), make([]error, len(all))
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() {
			r := newReader(s, begin)
			ops, err := work(i, s, r)
			results[i] = result.Result{Bytes: r.bytes, Fetched: r.bytes, Ops: ops, FirstByte: r.first}
			errs[i] = err
		})
	}
	group.Wait()
	var sum result.Result
	for _, r := range results {
		sum.Bytes, sum.Fetched, sum.Ops = sum.Bytes+r.Bytes, sum.Fetched+r.Fetched, sum.Ops+r.Ops
		if sum.FirstByte == 0 || r.FirstByte < sum.FirstByte {
			sum.FirstByte = r.FirstByte
		}
	}
	return sum, errors.Join(errs...)
}

// pieces cuts a file into ranges and returns every of-th of them.
func pieces(file string, size, n int64, i, of int) iter.Seq[span] {
	return func(yield func(span) bool) {
		for off := int64(i) * n; off < size; off += int64(of) * n {
			if !yield(span{file, off, min(n, size-off)}) {
				return
			}
		}
	}
}

// timed is move until the time is up.
func timed(limit time.Duration, ops *int64, move func(span) error) func(span) error {
	begin := time.Now()
	return func(sp span) error {
		if err := move(sp); err != nil {
			return err
		}
		*ops++
		if time.Since(begin) > limit {
			return errEnough
		}
		return nil
	}
}

func read(j job, all []*session) (sum result.Result, err error) {
	var to *os.File
	if j.to != "" {
		if to, err = os.Create(j.to); err != nil {
			return sum, err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	return each(all, func(i int, s *session, r *reader) (ops int64, err error) {
		r.to = to
		err = s.pipe(retr, pieces(j.file, j.size, j.piece, i, len(all)), j.depth, timed(j.limit, &ops, r.take))
		return ops, err
	})
}

func ranges(j job, all []*session) (result.Result, error) {
	return each(all, func(i int, s *session, r *reader) (ops int64, err error) {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		spans := func(yield func(span) bool) {
			for k := i; j.count == 0 || k < j.count; k += len(all) {
				off := int64(k) * j.stride
				if j.stride == 0 {
					off = random.Int64N(j.size/j.piece) * j.piece
				}
				if off+j.piece > j.size || !yield(span{j.file, off, j.piece}) {
					return
				}
			}
		}
		err = s.pipe(retr, spans, j.depth, timed(j.limit, &ops, r.take))
		return ops, err
	})
}

func many(j job, all []*session) (result.Result, error) {
	return each(all, func(i int, s *session, r *reader) (ops int64, err error) {
		for k := i; k < j.count && err == nil; k += len(all) {
			err = s.pipe(retr, pieces(fmt.Sprintf(j.file, k), j.size, j.piece, 0, 1), j.depth, timed(j.limit, &ops, r.take))
		}
		return ops, err
	})
}

func list(j job, all []*session) (result.Result, error) {
	entries, err := all[0].list(j.dir)
	return result.Result{Ops: int64(len(entries))}, err
}

// whole lists directories and returns their files as one span each.
func whole(s *session, dir string, deep bool) ([]span, error) {
	entries, err := s.list(dir)
	if err != nil {
		return nil, err
	}
	var spans []span
	for _, e := range entries {
		name := path.Join(dir, e.name)
		switch {
		case e.dir && deep:
			below, err := whole(s, name, deep)
			if err != nil {
				return nil, err
			}
			spans = append(spans, below...)
		case !e.dir:
			spans = append(spans, span{name, 0, e.size})
		}
	}
	return spans, nil
}

func readWhole(j job, all []*session, deep bool) (result.Result, error) {
	spans, err := whole(all[0], j.dir, deep)
	if err != nil {
		return result.Result{}, err
	}
	return each(all, func(i int, s *session, r *reader) (ops int64, err error) {
		share := spans[i*len(spans)/len(all) : (i+1)*len(spans)/len(all)]
		err = s.pipe(retr, slices.Values(share), j.depth, timed(j.limit, &ops, r.take))
		return ops, err
	})
}

func files(j job, all []*session) (result.Result, error) { return readWhole(j, all, false) }

func tree(j job, all []*session) (result.Result, error) { return readWhole(j, all, true) }

func noise() []byte {
	buf := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(buf)
	return buf
}

func upload(j job, all []*session, file string) (result.Result, error) {
	buf := noise()
	sum, err := each(all, func(i int, s *session, _ *reader) (ops int64, err error) {
		err = s.pipe(stor, pieces(file, j.size, j.piece, i, len(all)), j.depth, timed(j.limit, &ops, s.give(buf)))
		return ops, err
	})
	sum.Bytes = min(sum.Ops*j.piece, j.size)
	return sum, err
}

func write(j job, all []*session) (result.Result, error) { return upload(j, all, j.file) }

func put(j job, all []*session) (result.Result, error) {
	buf := noise()
	sum, err := each(all, func(i int, s *session, _ *reader) (ops int64, err error) {
		spans := func(yield func(span) bool) {
			for k := i; k < j.count; k += len(all) {
				if !yield(span{path.Join(j.dir, fmt.Sprintf("raw%05d", k)), 0, j.piece}) {
					return
				}
			}
		}
		err = s.pipe(stor, spans, j.depth, timed(j.limit, &ops, s.give(buf)))
		return ops, err
	})
	sum.Bytes = sum.Ops * j.piece
	return sum, err
}

// mixed reads on one half of the sessions and writes on the other.
func mixed(j job, all []*session) (result.Result, error) {
	if len(all) < 2 {
		return result.Result{}, errors.New("mixed needs two sessions")
	}
	var in, out result.Result
	var inErr, outErr error
	var group sync.WaitGroup
	group.Go(func() { in, inErr = read(j, all[:len(all)/2]) })
	group.Go(func() { out, outErr = upload(j, all[len(all)/2:], j.out) })
	group.Wait()
	in.Bytes, in.Ops = in.Bytes+out.Bytes, in.Ops+out.Ops
	return in, errors.Join(inErr, outErr)
}
