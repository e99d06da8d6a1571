package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// wait lives until it is told to end, and reaps orphans as process 1 must.
func wait() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// chroot runs a command of another root, in the place of this one.
func chroot(root string, argv []string) error {
	if err := syscall.Chroot(root); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

// put writes text into a file; the error of its close counts.
func put(file, text string, how int) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|how, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// fill writes FILE SIZE SEED, random bytes that are the same each time, and
// prints the checksum of what it wrote.
func fill(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	var seed [32]byte
	copy(seed[:], args[2])
	f, err := os.Create(args[0])
	if err != nil {
		return err
	}
	hash := sha256.New()
	content := io.LimitReader(rand.NewChaCha8(seed), size)
	_, err = io.CopyBuffer(io.MultiWriter(f, hash), content, make([]byte, 1<<20))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Printf("%x\n", hash.Sum(nil))
	return nil
}

func cat(files []string) error {
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(data); err != nil {
			return err
		}
	}
	return nil
}

func checksum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.CopyBuffer(hash, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// sum prints the checksum of each file.
func sum(files []string) error {
	for _, file := range files {
		s, err := checksum(file)
		if err != nil {
			return err
		}
		fmt.Println(s)
	}
	return nil
}

// watch reads FILE again and again, and ends with an error as soon as it cannot,
// or its checksum is not SUM. Each good read prints a line.
func watch(args []string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for n := 1; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		got, err := checksum(args[0])
		if err != nil {
			return err
		}
		if got != args[1] {
			return fmt.Errorf("%s has changed: %s", args[0], got)
		}
		fmt.Println("read", n)
	}
}

func list(args []string) error {
	entries, err := os.ReadDir(args[0])
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return err
}

// stat prints mode, owner, group and size.
func stat(args []string) error {
	info, err := os.Stat(args[0])
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	fmt.Printf("%04o %d %d %d\n", info.Mode().Perm(), owner.Uid, owner.Gid, info.Size())
	return nil
}
