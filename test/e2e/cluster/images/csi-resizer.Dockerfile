FROM scratch
COPY csi-resizer /csi-resizer
USER 65534:65534
ENTRYPOINT ["/csi-resizer"]
