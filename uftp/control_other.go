//go:build !linux

package uftp

import "net"

// quickAck exists on Linux only.
func quickAck(net.Conn) {}

// quiet cannot tell here; the next command will.
func quiet(net.Conn) bool { return true }

func segmentSize(net.Conn) int { return 0 }

// wakeAt is of use on Linux only.
func wakeAt(net.Conn, int) {}
