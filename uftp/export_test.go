package uftp

import (
	"net"
	"time"
)

// SetLateTime sets how long a client waits for late writes of lost sessions.
func SetLateTime(c *Client, d time.Duration) { c.dialer.late.patience = d }

// SetStall sets the longest silence of a server; IOTimeout stays what it is.
func SetStall(c *Client, d time.Duration) { c.dialer.stall = d }

// SetFinishTime sets how long an operation goes on whose context ended.
func SetFinishTime(c *Client, d time.Duration) { c.dialer.linger = d }

// QuickAck asks the kernel not to delay the next acknowledgement.
func QuickAck(conn net.Conn) { quickAck(conn) }
