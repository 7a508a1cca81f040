"""The pages in the Airflow UI are for people who are signed in."""

from letterpress.orchestration.pages import application


def test_every_page_asks_who_is_there(airflow_database):
    from airflow.api_fastapi.core_api.security import get_user

    app = application()
    paths = {route.path for route in app.routes}
    assert {"/models", "/models/{version}", "/syncs", "/syncs/{destination}/{plan_id}"} <= paths
    for route in app.routes:
        asked = {dependency.call for dependency in route.dependant.dependencies}
        assert get_user in asked, route.path
