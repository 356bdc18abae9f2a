from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pipeline.store.database import open_database
from pipeline.store.tables import metadata


def test_migrations_make_the_tables_the_code_expects(another):
    engine = open_database(another(bare=True))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_many_may_open_a_new_database_at_once(another):
    settings = another(bare=True)
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(lambda _: open_database(settings), range(8)))
    for engine in engines:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM messages").scalar() == 0
        engine.dispose()
