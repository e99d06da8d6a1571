package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/csi-uftp/csi-uftp/uftp/transfer"
)

// inPlaceSuffix ends a range that is to be written at the same offset.
const inPlaceSuffix = "-p"

// parseRange reads a byte range as UFTP clients have it: FIRST-LAST, both
// inclusive; FIRST-; or the number of bytes from the beginning. Numbers may end
// in K, M, G or T. "" is no range. An inPlaceSuffix is accepted.
func parseRange(s string) (*transfer.Range, error) {
	if s == "" {
		return nil, nil
	}
	first, last, ok := strings.Cut(strings.TrimSuffix(s, inPlaceSuffix), "-")
	if !ok {
		n, err := parseBytes(first)
		if err != nil || n == 0 {
			return nil, rangeError(s)
		}
		return &transfer.Range{Length: n}, nil
	}
	from, err := parseBytes(first)
	if err != nil {
		return nil, rangeError(s)
	}
	if last == "" {
		return &transfer.Range{Offset: from, Length: math.MaxInt64 - from}, nil
	}
	to, err := parseBytes(last)
	if err != nil || to < from || to == math.MaxInt64 {
		return nil, rangeError(s)
	}
	return &transfer.Range{Offset: from, Length: to - from + 1}, nil
}

func rangeError(s string) error {
	return usageErrorf("--bytes=%s: must be FIRST-LAST, FIRST-, or how many, with K, M, G or T", s)
}

// parseBytes reads a number of bytes.
func parseBytes(s string) (int64, error) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("KMGT", s[n-1]&^0x20); i >= 0 {
			shift, s = 10*(i+1), s[:n-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n < 0 || n > math.MaxInt64>>shift) {
		err = strconv.ErrRange
	}
	return n << shift, err
}
