package secrets

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// defaultTimeout is well below what kubelet and csi-provisioner wait for us.
const defaultTimeout = 10 * time.Second

// Resolver finds the credentials for a volume.
type Resolver struct {
	// Kube reads the Secrets that volumes name; it needs the right to get them
	// and no other. nil: only what CSI requests carry counts.
	Kube kubernetes.Interface
	// Timeout for reading a Secret; default 10 s.
	Timeout time.Duration
}

// Resolve turns the secrets of a CSI request into access. If there are none, it
// reads the Secret that spec names. Errors that somebody must mend wrap
// [volume.ErrSecret], an API server that does not answer is
// [volume.ErrKubernetes].
func (r Resolver) Resolve(ctx context.Context, spec volume.Spec, secrets map[string]string) (uftp.Access, error) {
	if v, unknown := known(secrets); len(v) > 0 || len(unknown) > 0 {
		return FromMap(secrets) //nolint:contextcheck // nothing in there blocks
	}
	if spec.SecretName == "" {
		return uftp.Access{}, fmt.Errorf("%w: there is none: refer to one in nodePublishSecretRef, in the StorageClass' csi.storage.k8s.io/…-secret-name, or in secretName and secretNamespace", volume.ErrSecret)
	}
	name := spec.SecretNamespace + "/" + spec.SecretName
	data, err := r.get(ctx, spec.SecretNamespace, spec.SecretName)
	if err != nil {
		return uftp.Access{}, err
	}
	access, err := FromMap(data) //nolint:contextcheck // nothing in there blocks
	if err != nil {
		return uftp.Access{}, fmt.Errorf("secret %s: %w", name, err)
	}
	return access, nil
}

func (r Resolver) get(ctx context.Context, namespace, name string) (map[string]string, error) {
	if r.Kube == nil {
		return nil, fmt.Errorf("%w: the volume names %s/%s, but this driver was started without access to the Kubernetes API; use nodePublishSecretRef", volume.ErrSecret, namespace, name)
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	getCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secret, err := r.Kube.CoreV1().Secrets(namespace).Get(getCtx, name, metav1.GetOptions{})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("read secret %s/%s: %w", namespace, name, ctx.Err())
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: %s/%s does not exist", volume.ErrSecret, namespace, name)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return nil, fmt.Errorf("%w: the driver may not read %s/%s: give its service account the right to get it, or use nodePublishSecretRef", volume.ErrSecret, namespace, name)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("read secret %s/%s: %w: no answer within %v", namespace, name, volume.ErrKubernetes, timeout)
	default:
		return nil, fmt.Errorf("read secret %s/%s: %w: %w", namespace, name, volume.ErrKubernetes, err)
	}
	data := make(map[string]string, len(secret.Data))
	for k, v := range secret.Data {
		data[k] = string(v)
	}
	return data, nil
}
