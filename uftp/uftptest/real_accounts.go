package uftptest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// firstID is where the search for unused user and group ids starts: above those
// of people, below those of dynamic services.
const firstID = 47110

// account is a Unix user of the real server.
type account struct {
	name string
	id   int // user id, and the id of the group of the same name
}

// writeAccounts writes copies of /etc/passwd and /etc/group into work, with an
// account for each user and the groups they name. It returns the accounts in
// the order of the users.
func writeAccounts(work, home string, users []User) ([]account, error) {
	passwd, err := readTable("/etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := readTable("/etc/group")
	if err != nil {
		return nil, err
	}
	var accounts []account
	for _, u := range users {
		// What stands in a line of the tables must fit there.
		for _, name := range append([]string{u.UnixUser, home}, u.Groups...) {
			if strings.ContainsAny(name, ":,\n") {
				return nil, fmt.Errorf("account of %s: bad name %q", u.Name, name)
			}
		}
		i := slices.IndexFunc(accounts, func(a account) bool { return a.name == u.UnixUser })
		if i < 0 {
			a := account{name: u.UnixUser}
			if u.UnixUser != "root" { // whom UFTPD refuses
				a.id = max(passwd.freeID(), group.freeID())
				number := strconv.Itoa(a.id)
				passwd.put(a.name, "x", number, number, "", home, "/bin/sh")
				group.put(a.name, "x", number, "")
			}
			accounts = append(accounts, a)
		} else {
			accounts = append(accounts, accounts[i])
		}
		for _, g := range u.Groups {
			if g != u.UnixUser {
				group.join(g, u.UnixUser)
			}
		}
	}
	return accounts, writeFiles(work, map[string][]byte{"passwd": passwd.text(), "group": group.text()})
}

// table is passwd(5) or group(5): lines of fields, the first one a name, the
// third one an id.
type table [][]string

func readTable(path string) (*table, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	var t table
	for line := range strings.Lines(string(text)) {
		t = append(t, strings.Split(strings.TrimSuffix(line, "\n"), ":"))
	}
	return &t, nil
}

// put adds a line, in place of any with the same name.
func (t *table) put(fields ...string) {
	*t = append(slices.DeleteFunc(*t, func(f []string) bool { return f[0] == fields[0] }), fields)
}

// join makes user a member of a group, which is made if it is missing.
func (t *table) join(group, user string) {
	for _, f := range *t {
		if f[0] != group || len(f) < 4 {
			continue
		}
		members := strings.Split(f[3], ",")
		if f[3] == "" {
			members = nil
		}
		if !slices.Contains(members, user) {
			f[3] = strings.Join(append(members, user), ",")
		}
		return
	}
	t.put(group, "x", strconv.Itoa(t.freeID()), user)
}

// freeID is an id above firstID and above all that the table has between there
// and the ids of dynamic services.
func (t *table) freeID() int {
	next := firstID
	for _, f := range *t {
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.Atoi(f[2]); err == nil && id >= next && id < firstID+10000 {
			next = id + 1
		}
	}
	return next
}

func (t *table) text() []byte {
	var b strings.Builder
	for _, f := range *t {
		b.WriteString(strings.Join(f, ":") + "\n")
	}
	return []byte(b.String())
}
