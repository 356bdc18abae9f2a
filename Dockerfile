# Build stage: the locked packages and the project in one virtual environment.
FROM python:3.12.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/sms-pipeline
COPY requirements-runtime.lock ./
RUN /opt/sms-pipeline/bin/pip install --require-hashes -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY pipeline pipeline
RUN /opt/sms-pipeline/bin/pip install --no-deps --no-build-isolation .

# Run stage: that environment and an ordinary user. No Java: Kafka is elsewhere.
FROM python:3.12.12-slim-bookworm
RUN groupadd --gid 10001 sms \
    && useradd --uid 10001 --gid sms --create-home --home-dir /var/lib/sms-pipeline --shell /usr/sbin/nologin sms \
    && mkdir /etc/sms-pipeline
COPY --from=build /opt/sms-pipeline /opt/sms-pipeline
ENV PATH=/opt/sms-pipeline/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SMS_STORAGE__DIRECTORY=/var/lib/sms-pipeline
USER 10001:10001
# A configuration mounted here as sms-pipeline.toml is found by every command.
WORKDIR /etc/sms-pipeline
EXPOSE 8080 9100
ENTRYPOINT ["sms-pipeline"]
CMD ["--help"]
