//go:build race

package node_test

// The services under test are built as the tests are.
const raceDetector = true
