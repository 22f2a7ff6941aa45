# The bot with the local backend's sketch engine; for a real model see "A real model" in README.md.
#
#   docker build -t gridbrush .
#   docker run -d -e DISCORD_TOKEN -v gridbrush:/data --stop-timeout 60 gridbrush
#
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY workflow_templates workflow_templates
RUN python -m venv /opt/gridbrush \
 && /opt/gridbrush/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.12-slim
# tini reaps the processes of jobs that outlive a restart of the bot; curl is what steps upload with.
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 gridbrush \
 && install -d -o gridbrush -g gridbrush /data
COPY --from=build /opt/gridbrush /opt/gridbrush
ENV PATH=/opt/gridbrush/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GRIDBRUSH_DATA__DIR=/data
USER gridbrush
WORKDIR /data
VOLUME /data
# SIGTERM drains: nothing new starts, what runs goes on at its backend and is taken up again.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "gridbrush"]
CMD ["run"]
