# One static binary and the certificates of public CAs: no shell, no libraries.
# The node's manifest runs it as root, all others as nobody.
ARG BUILDER=golang:1.26-bookworm
ARG BASE=scratch

FROM ${BUILDER} AS build
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /csi-uftp ./cmd/csi-uftp

FROM ${BASE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /csi-uftp /csi-uftp
USER 65534:65534
ENTRYPOINT ["/csi-uftp"]
