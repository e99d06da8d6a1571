FROM scratch
COPY podtool /pause
USER 65534:65534
ENTRYPOINT ["/pause"]
