"""Objects under a URL: whole pieces of bytes with a name, in a bucket or in a folder that is mounted everywhere.

An object is never seen half written. `create` lets exactly one of several writers win; a bucket decides that by a
conditional put (S3: If-None-Match, GCS: generation 0), a folder by a hard link.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, final
from urllib.parse import unquote, urlsplit

from sweeps.support.atomic import publish_bytes, replacing
from sweeps.support.extras import lacking
from sweeps.support.json_io import MOST_BYTES, read_bytes

AT_ONCE = 16  # requests to a bucket
CHUNK = 8_000_000  # bytes of an object that are in memory at once
FIRST = {"max_retries": 5, "retry_timeout": {"seconds": 60}}  # of a request to what may not be there at all
LATER = {"max_retries": 15, "retry_timeout": {"seconds": 60}}  # of one to what has answered: about a minute
# Whom the library asks for the machine's own credentials where the environment has none, and what to do about it.
MACHINE = "169.254.169.254"
NO_CREDENTIALS = (
    "no credentials in the environment or on this machine: set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY (s3) or GOOGLE_APPLICATION_CREDENTIALS (gs)"
)
BACKOFF = {"init_backoff": {"milliseconds": 100}, "max_backoff": {"seconds": 5}, "base": 2}
One = TypeVar("One")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Entry:
    """An object as it is listed."""

    name: str
    """Its name under the URL."""
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970 by the clock of whoever keeps it."""


class Objects(ABC):
    """Objects under one URL. Every call raises OSError where they cannot be reached."""

    at_once = AT_ONCE

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of an object. Raises FileNotFoundError where there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Put an object in place of whatever is there."""

    @final
    def create(self, name: str, content: bytes) -> bool:
        """Put an object unless there is one; True if this one is there now.

        Content that no other writer has tells whether a request whose answer was lost had been carried out.
        """
        return self.create_once(name, content) or self.read(name) == content

    @abstractmethod
    def create_once(self, name: str, content: bytes) -> bool:
        """Put an object unless there is one; False where one was there, even of this content."""

    @abstractmethod
    def upload(self, name: str, file: IO[bytes]) -> None:
        """As `write`, of a file of any size."""

    @abstractmethod
    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of an object of any size. Raises FileNotFoundError where there is none."""

    @abstractmethod
    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no matter."""

    @abstractmethod
    def listed(self, folder: str) -> list[Entry]:
        """All objects whose names begin with `folder` and a slash, as they are now; "" for all."""

    @final
    def stamp(self, name: str) -> float:
        """Write an empty object; when that was, in seconds since 1970 by the clock of whoever keeps it.

        Raises OSError where it is not listed at once.
        """
        self.write(name, b"")
        for entry in self.listed(name.rpartition("/")[0]):
            if entry.name == name:
                return entry.modified
        raise OSError(f"{self.url}/{name}: is missing from the listing after it was written")

    @final
    def each(self, work: Callable[[One], Other], of: Iterable[One]) -> list[Other]:
        """What `work`, which waits for answers, makes of each; several at once."""
        items = list(of)
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(self.at_once, len(items))) as pool:
            return list(pool.map(work, items))


@final
class FolderObjects(Objects):
    """Files in a folder, file:///PATH: a file system that is mounted everywhere. Names are paths in it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.folder = Path(unquote(urlsplit(self.url).path))

    def _path(self, name: str) -> Path:
        if ".." in name.split("/"):
            raise ValueError(f"{self.url}: {name!r} is not an object name")
        return self.folder / name

    def read(self, name: str) -> bytes:
        return read_bytes(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        with self._replacing(name) as temporary:
            temporary.write_bytes(content)

    def create_once(self, name: str, content: bytes) -> bool:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            publish_bytes(path, content)
        except OSError:
            if not path.exists():  # network file systems have more names than "exists" for losing a race
                raise
            return False
        return True

    def upload(self, name: str, file: IO[bytes]) -> None:
        with self._replacing(name) as temporary, open(temporary, "wb") as out:
            while chunk := file.read(CHUNK):
                out.write(chunk)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary

    def chunks(self, name: str) -> Iterator[bytes]:
        with open(self._path(name), "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def listed(self, folder: str) -> list[Entry]:
        entries = []
        for path in self._path(folder).rglob("*"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                if not path.name.endswith(".tmp") and path.is_file():
                    at = path.stat()
                    entries.append(Entry(path.relative_to(self.folder).as_posix(), at.st_size, at.st_mtime))
        return entries


@final
class BucketObjects(Objects):
    """Objects of a bucket, by the library obstore. Credentials and endpoints are those of the environment."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._library, self._errors = _obstore()
        self._answered = False
        self._bucket = self._open(FIRST)

    def _open(self, retries: Mapping[str, Any]) -> Any:
        config = _durations({**retries, "backoff": BACKOFF})
        options: dict[str, Any] = {"retry_config": config, "client_options": _client_options()}
        if self.url.startswith("s3://") and (provider := _profile_credentials()):
            options["credential_provider"] = provider
        try:
            return self._library.store.from_url(self.url, **options)
        except self._errors.BaseError as error:
            raise ValueError(f"{self.url}: {_first_line(error)}") from None

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        try:
            yield
            if not self._answered:
                self._answered, self._bucket = True, self._open(LATER)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.url}/{name}: is not there") from None
        except self._errors.BaseError as error:
            raise OSError(f"{self.url}/{name}: {_first_line(error)}") from None

    def read(self, name: str) -> bytes:
        with self._asking(name):
            answer = self._library.get(self._bucket, name)
            if answer.meta["size"] > MOST_BYTES:
                raise ValueError(
                    f"{self.url}/{name}: has {answer.meta['size']:,} bytes; at most {MOST_BYTES:,} are read"
                )
            return bytes(answer.bytes())

    def write(self, name: str, content: bytes) -> None:
        with self._asking(name):
            self._library.put(self._bucket, name, content)

    def create_once(self, name: str, content: bytes) -> bool:
        with self._asking(name):
            try:
                self._library.put(self._bucket, name, content, mode="create")
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
                return False
            return True

    def upload(self, name: str, file: IO[bytes]) -> None:
        with self._asking(name):
            self._library.put(self._bucket, name, file)

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._asking(name):
            yield from map(bytes, self._library.get(self._bucket, name).stream(min_chunk_size=CHUNK))

    def delete(self, names: Sequence[str]) -> None:
        with suppress(FileNotFoundError), self._asking(names[0] if names else ""):
            if names:
                self._library.delete(self._bucket, list(names))

    def listed(self, folder: str) -> list[Entry]:
        with self._asking(folder):
            return [
                Entry(entry["path"], entry["size"], entry["last_modified"].timestamp())
                for page in self._library.list(self._bucket, prefix=folder or None)
                for entry in page
            ]


SCHEMES: dict[str, type[Objects]] = {"s3": BucketObjects, "gs": BucketObjects, "file": FolderObjects}


def checked_url(url: str, what: str = "a place for objects") -> str:
    """The URL of objects. Raises ValueError saying what it must be, and nothing of it, for it may hold a secret.

    what: it is, in the words of who gave it.
    """
    parts = urlsplit(url)
    wrong = parts.scheme not in SCHEMES or "@" in parts.netloc or parts.query or parts.fragment
    if wrong or not (parts.netloc or parts.scheme == "file") or (parts.scheme == "file" and not parts.path.strip("/")):
        raise ValueError(
            f"{what} must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER, with credentials in "
            "the environment and never in the URL"
        )
    if ".." in parts.path.split("/"):
        raise ValueError(f"{what} must not have .. in it")
    return url.rstrip("/")


def is_objects(url: str) -> bool:
    """Whether this is meant as the URL of objects."""
    return urlsplit(url).scheme in SCHEMES


def is_place_of_objects(place: str) -> bool:
    """Whether what may be a folder is the URL of objects. Raises ValueError for a URL of anything else."""
    scheme, url, _ = place.partition("://")
    if url and scheme not in SCHEMES:
        raise ValueError(
            f"{scheme}:// is not a supported scheme; give a folder, s3://BUCKET/PREFIX, "
            "gs://BUCKET/PREFIX or file:///FOLDER (a database is given with `store`, in addition to a folder)"
        )
    return bool(url)


def open_objects(url: str) -> Objects:
    """The objects under a URL; nothing is asked of anybody yet. Raises ValueError where it cannot be one."""
    return SCHEMES[urlsplit(checked_url(url)).scheme](url)


def _obstore() -> tuple[Any, Any]:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ModuleNotFoundError as error:
        raise ValueError(f"objects in a bucket: {lacking(error)}") from None
    return obstore, obstore.exceptions


def _durations(config: Any) -> Any:
    """The same with spans of time as the library wants them."""
    from datetime import timedelta

    if not isinstance(config, dict):
        return config
    if config.keys() <= {"seconds", "milliseconds"}:
        return timedelta(**config)
    return {name: _durations(value) for name, value in config.items()}


def _client_options() -> dict[str, Any]:
    """Plain HTTP only where the environment names such an endpoint, as for a server of one's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    named = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return {"allow_http": True} if named.startswith("http://") else {}


def _profile_credentials() -> Any:
    """Credentials of a profile in ~/.aws, which boto3 reads; None where the environment or the machine has its own."""
    profile = os.environ.get("AWS_PROFILE")
    if "AWS_ACCESS_KEY_ID" in os.environ or not (profile or Path("~/.aws/credentials").expanduser().is_file()):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise ValueError(
            "the credentials in ~/.aws need boto3: pip install boto3; or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None
    return Boto3CredentialProvider()


def _first_line(error: Exception) -> str:
    """What the library says, without the inside of its error; where credentials are missing, that."""
    text = str(error).split("\n\nDebug source:")[0]
    return NO_CREDENTIALS if MACHINE in text else " ".join(text.split())[:300]
