package pods_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// serverRoot is what the server serves.
const serverRoot = "/srv"

// server is csi-uftp testserver in a pod, or the real UFTPD, with a CA of its own.
type server struct {
	cluster
	namespace, pod string
	authURL, ca    string
	sshKey         string // alice's, in PEM
}

// The server's users. All see the same files; bob may only read.
const (
	alice         = "alice"
	alicePassword = "alice's pass word"
	aliceToken    = "alice-token-1"
	bob           = "bob"
	bobPassword   = "b0b"
)

// startServer makes the namespace, unless it is there, and the server in it.
func (c cluster) startServer(ctx context.Context, namespace, name string) (*server, error) {
	s := &server{cluster: c, namespace: namespace, pod: name}
	if _, err := c.kubectl(ctx, "get", "namespace", namespace); err != nil {
		ns := namespaceObject(namespace)
		if c.uftpd != "" {
			ns.Labels["pod-security.kubernetes.io/enforce"] = "privileged"
		}
		if err := c.create(ctx, ns); err != nil {
			return nil, err
		}
	}
	users, err := s.users()
	if err != nil {
		return nil, err
	}
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace}
	if err := c.create(ctx, &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"users.json": users}}, s.podObject(meta)); err != nil {
		return nil, err
	}
	err = eventually(ctx, 5*time.Minute, s.readLog)
	return s, err
}

// users makes alice's SSH key and returns the file of users.
func (s *server) users() (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "e2e")
	if err != nil {
		return "", err
	}
	s.sshKey = string(pem.EncodeToMemory(block))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal([]uftptest.User{
		{Name: alice, Password: alicePassword, Tokens: []string{aliceToken}, Keys: []string{string(ssh.MarshalAuthorizedKey(key))}},
		{Name: bob, Password: bobPassword, Access: "READ"},
	})
	return string(data), err
}

// aliceID is the Unix user that the real UFTPD's sessions for alice have. It owns
// the files, so the other container of the pod is it, too.
const aliceID = 47110

// podObject has two containers: the server, and one to look at its files.
func (s *server) podObject(meta metav1.ObjectMeta) *corev1.Pod {
	pod := podObject(meta.Namespace, meta.Name)
	tool := &pod.Spec.Containers[0]
	tool.VolumeMounts = []corev1.VolumeMount{{Name: "files", MountPath: serverRoot}}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(aliceID)), RunAsGroup: new(int64(aliceID)), FSGroup: new(int64(aliceID)),
		RunAsNonRoot: new(true), SeccompProfile: pod.Spec.SecurityContext.SeccompProfile}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "files", VolumeSource: empty}, {Name: "tmp", VolumeSource: empty},
		{Name: "users", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: meta.Name}}},
	}
	c := corev1.Container{
		Name: "server", Image: productImage, ImagePullPolicy: corev1.PullIfNotPresent, SecurityContext: tool.SecurityContext,
		Args: []string{"testserver", "--dir=" + serverRoot, "--users-file=/etc/users/users.json", "--ca-file=/dev/stdout",
			"--auth-listen=$(POD_IP):9000", "--control-listen=$(POD_IP):0", "--hostname=$(POD_IP)", "--max-connections=100"},
		Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "files", MountPath: serverRoot}, {Name: "users", MountPath: "/etc/users"}, {Name: "tmp", MountPath: "/tmp"},
		},
	}
	if s.uftpd != "" {
		s.makeReal(pod, &c)
	}
	pod.Spec.Containers = append(pod.Spec.Containers, c)
	return pod
}

// makeReal turns the server into the real UFTPD. There is no image with Python
// and UFTPD without a registry: the pod takes both from the machine, and so must
// be as privileged as a pod can be.
func (s *server) makeReal(pod *corev1.Pod, c *corev1.Container) {
	const host = "/host"
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
	c.Image = podtoolImage
	c.SecurityContext = &corev1.SecurityContext{Privileged: new(true), RunAsUser: new(int64(0)), RunAsNonRoot: new(false)}
	c.Env = append(c.Env, corev1.EnvVar{Name: uftptest.EnvUFTPD, Value: os.Getenv(uftptest.EnvUFTPD)}, corev1.EnvVar{Name: "PATH", Value: os.Getenv("PATH")})
	c.Args = []string{"chroot", host, s.uftpd, "-dir=" + serverRoot, "-work=/mnt", "-address=$(POD_IP)", "-users=/media/users.json"}
	c.VolumeMounts = []corev1.VolumeMount{
		// Mounts that end on the node end here, too, or this pod would keep volumes alive.
		{Name: "host", MountPath: host, MountPropagation: new(corev1.MountPropagationHostToContainer)},
		{Name: "files", MountPath: host + serverRoot}, {Name: "tmp", MountPath: host + "/mnt"}, {Name: "users", MountPath: host + "/media"},
	}
}

var serverURL = regexp.MustCompile(`(?m)^URL +uftp://(\S+):$`)

// readLog learns the server's URL and CA from what it prints when it is ready.
func (s *server) readLog(ctx context.Context) error {
	log, err := s.kubectl(ctx, "-n", s.namespace, "logs", s.pod, "-c", "server")
	if err != nil {
		return err
	}
	found := serverURL.FindStringSubmatch(log)
	if found == nil {
		return fmt.Errorf("the server has not said its URL: %s", log)
	}
	block, _ := pem.Decode([]byte(log))
	if block == nil {
		return errors.New("the server has not printed its CA")
	}
	s.authURL, s.ca = "https://"+found[1], string(pem.EncodeToMemory(block))
	return nil
}

// tool runs podtool on the server's files.
func (s *server) tool(ctx context.Context, args ...string) (string, error) {
	out, err := s.kubectl(ctx, append([]string{"-n", s.namespace, "exec", s.pod, "-c", "podtool", "--", "/podtool"}, args...)...)
	return strings.TrimSuffix(out, "\n"), err
}

// password is a Secret's content for one of the users.
func (s *server) password(user, password string) map[string]string {
	return map[string]string{"username": user, "password": password, "ca.crt": s.ca}
}
