package uftp

import (
	"bufio"
	"bytes"
	"io"
	"testing"
)

// testCodecs are all the ways to use data connections.
func testCodecs() []*codec {
	var all []*codec
	for _, c := range []coding{
		{streams: 3}, {compress: true}, {streams: 2, compress: true},
		{algorithm: EncryptionAES}, {algorithm: EncryptionBlowfish, compress: true}, {algorithm: EncryptionBlowfish},
	} {
		all = append(all, c.newCodec(c.newKey()))
	}
	return all
}

// through encodes data into as many streams as the codec has.
func through(t *testing.T, c *codec, data []byte) []*bytes.Buffer {
	t.Helper()
	buffers := make([]*bytes.Buffer, max(c.streams, 1))
	writers := make([]io.Writer, len(buffers))
	for i := range buffers {
		buffers[i] = &bytes.Buffer{}
		writers[i] = buffers[i]
	}
	enc, err := c.encoder(writers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enc.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return buffers
}

func decode(t *testing.T, c *codec, buffers []*bytes.Buffer) ([]byte, error) {
	t.Helper()
	readers := make([]io.Reader, len(buffers))
	for i, b := range buffers {
		readers[i] = b
	}
	dec, err := c.decoder(readers)
	if err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(io.LimitReader(dec, 1<<20))
}

// FuzzCoding checks that what is encoded is decoded, and that nothing but that is
// taken for it: garbage has an error or an end, and is no reason to hang.
func FuzzCoding(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint16(3), byte(1))
	f.Add(bytes.Repeat([]byte("x"), 40_000), uint16(30_000), byte(0))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, flip byte) {
		for _, c := range testCodecs() {
			buffers := through(t, c, data)
			for _, b := range buffers {
				if raw := b.Bytes(); flip != 0 && len(raw) > int(at) {
					raw[at] ^= flip
				}
			}
			got, err := decode(t, c, buffers)
			if flip == 0 && (err != nil || !bytes.Equal(got, data)) {
				t.Errorf("%+v: %d bytes come back as %d, %v", c.coding, len(data), len(got), err)
			}
			garbage := make([]*bytes.Buffer, len(buffers))
			for i := range garbage {
				garbage[i] = bytes.NewBuffer(bytes.Clone(data))
			}
			_, _ = decode(t, c, garbage)
		}
	})
}

// TestTruncatedCoding cuts streams everywhere: no data is ever lost without an
// error, apart from gzip's trailer over several streams, which servers omit.
func TestTruncatedCoding(t *testing.T) {
	data := bytes.Repeat([]byte("some bytes, "), 20)
	for _, c := range testCodecs() {
		whole := through(t, c, data)
		for cut := range whole[0].Len() {
			buffers := make([]*bytes.Buffer, len(whole))
			for i, b := range whole {
				buffers[i] = bytes.NewBuffer(bytes.Clone(b.Bytes()))
			}
			buffers[0].Truncate(cut)
			if got, err := decode(t, c, buffers); err == nil && !bytes.Equal(got, data) {
				t.Errorf("%+v: cut after %d of %d bytes: %d bytes of %d and no error", c.coding, cut, whole[0].Len(), len(got), len(data))
			}
		}
	}
}

// FuzzDelta checks that a follower with any old copy gets the leader's version,
// and that garbage from the other side is no reason to hang.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("old content of it"), []byte("new content of it"), uint16(5))
	f.Add(bytes.Repeat([]byte("ab"), 2000), bytes.Repeat([]byte("ba"), 2000), uint16(512))
	f.Add([]byte{}, []byte{0}, uint16(1))
	f.Fuzz(func(t *testing.T, old, version []byte, size uint16) {
		n := int64(max(size, 1))
		var sums, delta, got bytes.Buffer
		if err := sendSums(&sums, bytes.NewReader(old), int64(len(old)), n); err != nil {
			t.Fatal(err)
		}
		known, err := readSums(&sums)
		if err != nil {
			t.Fatal(err)
		}
		d := &deltaWriter{to: bufio.NewWriter(&delta), src: bytes.NewReader(version), size: int64(len(version)), old: known}
		if err := d.run(); err != nil {
			t.Fatal(err)
		}
		r := &deltaReader{from: bufio.NewReader(&delta), old: bytes.NewReader(old), oldSize: int64(len(old)), size: n, to: &got}
		if err := r.run(); err != nil || !bytes.Equal(got.Bytes(), version) {
			t.Errorf("%d bytes come out as %d, %v", len(version), got.Len(), err)
		}
		if r.stats != d.stats {
			t.Errorf("one side counts %+v, the other %+v", d.stats, r.stats)
		}
		_, _ = readSums(bytes.NewReader(version))
		r = &deltaReader{from: bufio.NewReader(bytes.NewReader(version)), old: bytes.NewReader(old), oldSize: int64(len(old)), size: n, to: io.Discard}
		if err := r.run(); err == nil && r.from.Buffered() == len(version) {
			t.Error("an end out of nothing")
		}
	})
}
