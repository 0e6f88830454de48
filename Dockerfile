# regard in a container (docs/install.md):
#   docker build -t regard .
#   docker run --rm -v "$PWD":/work regard train pictures --out runs/first
# Not built where it was written, as there was no Docker: tests/test_install.py holds its lines against the repository's files.

FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements-uv.lock requirements-run.lock ./
ENV VIRTUAL_ENV=/opt/regard
RUN python -m venv "$VIRTUAL_ENV" \
    && python -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-uv.lock \
    && /opt/uv/bin/uv pip install --no-cache --compile-bytecode --require-hashes --requirement requirements-run.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN /opt/uv/bin/uv pip install --no-cache --compile-bytecode --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 regard && install --directory --owner=regard /work
COPY --from=build /opt/regard /opt/regard
ENV PATH=/opt/regard/bin:$PATH
USER regard
WORKDIR /work
# `regard serve` listens to the container's own loopback, which nobody else reaches. To publish it, let it listen to the
# container's network, where it asks for a token, and publish the port to this machine alone:
#   docker run --rm -p 127.0.0.1:8000:8000 -e REGARD_TOKEN=SIXTEEN_CHARACTERS_OR_MORE regard serve --host 0.0.0.0
EXPOSE 8000
ENTRYPOINT ["regard"]
CMD ["--help"]
