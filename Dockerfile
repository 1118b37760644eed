# The BLADE server, nothing else. The extra decides what is in it: `--build-arg EXTRA=sandbox` adds the sandbox.
FROM python:3.13-slim AS build
ARG EXTRA=server
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY server server
COPY protos protos
RUN python -m venv /opt/blade \
    && /opt/blade/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRA}]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/blade --create-home blade
COPY --from=build /opt/blade /opt/blade
USER 10001
WORKDIR /var/lib/blade
# In a container the loopback default would let nobody in. It does not start without TLS (BLADE_TLS_CERT_FILE,
# BLADE_TLS_KEY_FILE) or BLADE_PLAINTEXT=behind-proxy, and lets in who shows the token of BLADE_ADMIN_TOKEN_FILE. State
# goes to DATABASE_URL, or without it to the embedded PostgreSQL in BLADE_DATA_DIR.
ENV PATH=/opt/blade/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BLADE_HOST=0.0.0.0 \
    BLADE_DATA_DIR=/var/lib/blade/postgres \
    BLADE_READY_FILE=/tmp/blade-ready
# gRPC, HTTP, and probes and metrics, which BLADE_ADMIN_HOST=0.0.0.0 opens.
EXPOSE 50051 8080 9464
VOLUME /var/lib/blade
# Over a socket in the container: with TLS, and with any ports, as well.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["blade", "health"]
# A stopping server finishes its uploads, up to BLADE_DRAIN_TIMEOUT_S: give it as long (docker stop --time). With
# BLADE_WORKERS it has child processes, which it reaps and stops itself.
ENTRYPOINT ["blade"]
CMD ["serve"]
