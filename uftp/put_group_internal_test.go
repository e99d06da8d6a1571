package uftp

import "testing"

// TestPutGroupOfNothing is what is left of a group when all of it is over.
func TestPutGroupOfNothing(t *testing.T) {
	if err := new(session).putGroup(nil, []*putItem{{over: true}}); err != nil {
		t.Error(err)
	}
}
