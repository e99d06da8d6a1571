package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"
)

// logger makes the logger of this process. level is what the command logs at
// unless --log-level says otherwise.
func (a *app) logger(level slog.Level) (*slog.Logger, error) {
	if a.logLevel != "" {
		if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
			return nil, usageError{fmt.Sprintf("--log-level=%s: must be debug, info, warn or error", a.logLevel), "csi-uftp"}
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch a.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.stderr, options)), nil
	}
	return nil, usageError{fmt.Sprintf("--log-format=%s: must be text or json", a.logFormat), "csi-uftp"}
}

// serviceLogger is logger for a service: what gRPC and client-go log goes the
// same way. Both keep their logger in a global variable, so only a process that
// is the service may call this.
func (a *app) serviceLogger() (*slog.Logger, error) {
	logger, err := a.logger(slog.LevelInfo)
	if err != nil {
		return nil, err
	}
	klog.SetSlogLogger(logger.With("component", "client-go"))
	quiet, errs := io.Discard, logWriter{logger.With("component", "grpc"), slog.LevelWarn}
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(quiet, errs, errs))
	return logger, nil
}

// logWriter turns lines into log records.
type logWriter struct {
	logger *slog.Logger
	level  slog.Level
}

func (w logWriter) Write(line []byte) (int, error) {
	w.logger.Log(context.Background(), w.level, "library message", "text", strings.TrimSpace(string(line)))
	return len(line), nil
}
