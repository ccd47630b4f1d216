# A worker (or any other effectmq command): the wheel, its locked dependencies, and the examples.
FROM python:3.13.7-slim-trixie AS build
WORKDIR /source
COPY . .
# The lock, without hashes and options, becomes a list of constraints: pip then installs the same
# versions, but only those that the chosen extras need, and none of the developers' tools.
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^\\]*\).*/\1/p' requirements.lock > /constraints.txt \
    && pip wheel --no-cache-dir --no-deps --constraint /constraints.txt --wheel-dir /wheels .

FROM python:3.13.7-slim-trixie
ARG EXTRAS=postgres,code,dashboard,http
# What your own code needs beside effectmq, as pip takes it: "httpx>=0.28 pillow".
ARG PACKAGES=""
COPY --from=build /constraints.txt /wheels/ /install/
RUN pip install --no-cache-dir --constraint /install/constraints.txt \
        "effectmq[${EXTRAS}] @ file://$(echo /install/effectmq-*.whl)" ${PACKAGES} \
    && rm -r /install \
    && useradd --create-home --uid 10001 effectmq
WORKDIR /app
COPY examples/ examples/
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1
USER effectmq
# Two signals stop a worker: the first lets it finish, the second makes it leave at once.
STOPSIGNAL SIGTERM
ENTRYPOINT ["effectmq"]
CMD ["--help"]
