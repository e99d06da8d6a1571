// Package copy measures csi-uftp cp beside pyuftp: many small files and one big
// one, to and from a server. It holds benchmarks only:
//
//	make copy-bench
//	UFTPD_DIR=… UFTP_PYCLIENTS=… go test -run '^$' -bench . -benchtime 1x ./test/bench/copy
//
// $COPY_FILES, $COPY_BIG (bytes) and $COPY_DELAY (one way, with the test server
// only) change what is moved, and over what.
package copy
