package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/csi-uftp/csi-uftp/test/bench/result"
)

// fio runs fio for some time with nothing of the file in the page cache.
func fio(ctx context.Context, limit time.Duration, args []string) (result.Result, error) {
	full := append([]string{
		"fio", "--name=bench", "--ioengine=psync", "--direct=0", "--invalidate=1", "--readonly", "--thread",
		"--group_reporting", "--time_based", fmt.Sprintf("--runtime=%dms", limit.Milliseconds()), "--output-format=json",
	}, args...)
	out, err := output(ctx, nil, full...)
	if err != nil {
		return result.Result{}, err
	}
	var report struct {
		Jobs []struct {
			Error int
			Read  struct {
				Bytes   int64 `json:"io_bytes"`
				Ops     int64 `json:"total_ios"`
				Runtime int64 // milliseconds
			}
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return result.Result{}, fmt.Errorf("fio: %w", err)
	}
	if len(report.Jobs) != 1 || report.Jobs[0].Error != 0 {
		return result.Result{}, fmt.Errorf("fio: %.300s", out)
	}
	read := report.Jobs[0].Read
	return result.Result{Bytes: read.Bytes, Ops: read.Ops, Time: time.Duration(read.Runtime) * time.Millisecond}, nil
}
