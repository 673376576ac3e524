"""Where the latest values are served from, and how they get there."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from features.config.section import Section, read_secret


class TlsSettings(Section):
    """How clients speak TLS with Cassandra. Paths of PEM files, relative to the working folder.

    Attributes:
        ca_file: the authorities that may have signed the servers' certificates; None: those that the machine trusts.
        cert_file: the client's own certificate, its chain behind it, where servers require one.
        key_file: its private key, unencrypted; None: `cert_file` holds it too.
        verify_hostname: also refuse a certificate that does not name the address that was connected to. Drivers connect
            to the addresses that nodes announce, so certificates must hold those IP addresses.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_hostname: bool = True

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> "TlsSettings":
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of a certificate: set cert_file too")
        return self


class LoadSettings(Section):
    """How loads reach the online store: as SSTables that executors build, or as CQL statements; see docs/loading.md."""

    path: Literal["auto", "sstable", "cql"] = "auto"
    sstable_rows: int = Field(default=100_000, ge=0, description="auto: from so many keys on, SSTables are written")
    directory: str | None = Field(default=None, description="where SSTables are built; None: for temporary files")
    run_mb: int = Field(default=64, ge=1, le=1024, description="MiB of rows that a task sorts, and an SSTable holds")
    heap_mb: int = Field(default=512, ge=128, description="MiB of heap of the process that writes SSTables for a task")
    jmx_port: int | None = Field(default=None, ge=1, le=65535, description="of a lone node where the executors run")
    jmx_username: str | None = None
    jmx_password_env: str | None = Field(default=None, description="name of the environment variable")
    storage_port: int | None = Field(default=None, ge=1, le=65535, description="between nodes; None: as they tell")


class OnlineSettings(Section):
    """Where the latest values are served from. `embedded` starts a Cassandra on this machine, if hosts are loopback."""

    type: Literal["cassandra", "memory"] = "cassandra"
    hosts: tuple[str, ...] = Field(default=("127.0.0.1",), min_length=1)
    port: int = Field(default=9042, ge=1, le=65535)
    keyspace: str = Field(default="features", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    replication: int = Field(default=1, ge=1, description="replication factor of a keyspace that `apply` creates")
    datacenter: str = "datacenter1"
    consistency: Literal["ONE", "LOCAL_ONE", "LOCAL_QUORUM", "QUORUM", "ALL"] = "LOCAL_QUORUM"
    username: str | None = None
    password_env: str | None = Field(
        default=None, description="name of the environment variable that holds the password"
    )
    tls: TlsSettings | None = Field(default=None, description="None: connections are not encrypted")
    timeout_seconds: float = Field(default=10.0, gt=0)
    hedge_milliseconds: float | None = Field(
        default=50.0, gt=0, description="a read not answered after so long is asked of another replica too; None: never"
    )
    keys_per_read: int = Field(
        default=20, ge=1, description="keys of one replica that one statement asks for; 1: one each"
    )
    embedded: bool = Field(default=False, description="features cassandra start serves these hosts from this machine")
    load: LoadSettings = LoadSettings()

    @field_validator("hosts", mode="before")
    @classmethod
    def _one_host(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def password(self) -> SecretStr | None:
        """The password, read from the environment when it is needed. Raises: ConfigError: the variable is not set."""
        return None if self.password_env is None else read_secret("online.password_env", self.password_env)
