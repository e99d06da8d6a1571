FROM scratch
COPY /bin/busybox /bin/sh
COPY /bin/busybox /bin/ls
COPY /bin/busybox /bin/cat
COPY /bin/busybox /bin/date
ENTRYPOINT ["/bin/sh"]
