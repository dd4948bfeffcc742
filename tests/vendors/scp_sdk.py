"""Drives a running server with the public client scpv2-sdk, unmodified: only the address it talks to is changed.

Environment: MOORAGE_URL, MOORAGE_ACCESS_KEY, MOORAGE_SECRET_KEY; or the first argument is a data directory with a
bootstrap.json. Prints a line per check and `N passed, N failed` at the end; the exit code is 0 only when nothing failed.
"""

import json
import os
import random
import socket
import string
import sys
import time

import scpv2

import report

DEADLINE = float(os.environ.get("MOORAGE_VENDOR_DEADLINE", "120"))
IN_TRANSIT = {"CREATING", "SYNCHRONIZING", "STARTING", "STOPPING", "RESTARTING", "EDITING", "TERMINATING"}


class Report(report.Report):
    """The same for a client that raises what it was refused."""

    def refused(self, what, call, status, code):
        try:
            answer = call()
        except scpv2.ClientError as error:
            first = (error.response.get("errors") or [{}])[0]
            ok = error.status_code == status and first.get("code") == code and bool(error.request_id) and bool(first.get("detail"))
            return self.check(what, ok, error.response)
        return self.check(what, False, answer)


def until(what, ask, done):
    """Asks until it is done; returns the last answer and whether it was done in time."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = ask()
        if done(answer):
            return answer, True
        if time.monotonic() > end:
            print(f"      gave up on {what}: {answer!r}")
            return answer, False
        time.sleep(0.1)


class Service:
    """One engine's service as the client sees it."""

    def __init__(self, session, engine, report):
        self.engine = engine
        self.report = report
        self.clusters = session.client(f"{engine}_cluster")
        self.versions = session.client(f"{engine}_engine_version")
        self.types = session.client(f"{engine}_server_type")
        self.requests = session.client(f"{engine}_request")
        self.groups = session.client(f"{engine}_parameter_group")
        self.parameters = session.client(f"{engine}_parameter")

    def check(self, what, ok, seen=None):
        return self.report.check(f"{self.engine}: {what}", ok, seen)

    def state(self, cluster):
        return self.clusters.show_cluster(cluster_id=cluster)["service_state"]

    def body(self, name):
        version = self.versions.list_engine_versions()["contents"][0]
        database = {
            "audit_enabled": False,
            "backup_option": {"archive_frequency_minute": "60", "retention_period_day": "7", "starting_time_hour": "2"},
            "database_name": "vendors",
            "database_port": random.randint(20000, 60000),
            "database_user_name": "keeper",
            "database_user_password": "Vend0r!checks",
        }
        if self.engine == "mariadb":
            database["database_character_set"] = "utf8"
        else:
            database["database_encoding"] = "UTF-8"
            database["database_locale"] = "C"
        body = {
            "allowable_ip_addresses": ["127.0.0.0/8"],
            "dbaas_engine_version_id": version["id"],
            "ha_enabled": False,
            "init_config_option": database,
            "instance_groups": [
                {
                    "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}],
                    "instances": [{"public_ip_id": "", "role_type": "ACTIVE", "service_ip_address": ""}],
                    "role_type": "ACTIVE",
                    "server_type_name": "db1v1m2",
                }
            ],
            "instance_name_prefix": "vendors",
            "maintenance_option": None,
            "name": name,
            "nat_enabled": False,
            "origin_cluster_id": "",
            "subnet_id": "default",
            "tags": [],
            "timezone": "Asia/Seoul",
            "vip_public_ip_id": None,
            "virtual_ip_address": None,
        }
        if self.engine == "mariadb":
            body["service_watch_log_collection"] = None
        return body

    def drive(self):
        """The life of a cluster."""
        name = "Vend" + "".join(random.choices(string.ascii_letters, k=8))
        body = self.body(name)
        self.catalogue()
        self.bad_input(body)
        created = self.clusters.create_cluster(**body)
        cluster = created["resource"]["id"]
        self.check("create is accepted", created["ResponseMetadata"]["HTTPStatusCode"] == 202, created)
        try:
            self.right_after("create", cluster, created["request_id"], "CREATING", "RUNNING")
            self.live(cluster, created["request_id"], name, body)
        finally:
            self.remove(cluster)
        self.drive_two(dict(body, name=name + "Two"))

    def drive_two(self, body):
        """The life of a highly available cluster."""
        group = dict(body["instance_groups"][0], role_type="ACTIVE_STANDBY")
        instance = {"public_ip_id": "", "service_ip_address": ""}
        group["instances"] = [dict(instance, role_type=role) for role in ("ACTIVE", "STANDBY")]
        created = self.clusters.create_cluster(**dict(body, ha_enabled=True, instance_groups=[group]))
        cluster = created["resource"]["id"]
        try:
            self.wait_for_request("create of two", created["request_id"])
            before = self.clusters.show_cluster(cluster_id=cluster)
            places = self.places(before)
            self.check("a highly available cluster is shown as one", before["ha_enabled"] and before["instance_count"] == 2, before)
            self.check("it has a virtual address and one for each instance", len({before["virtual_ip_address"], *places.values()}) == 3, before)
            self.change(cluster, "switchover", "RESTARTING", "RUNNING")
            after = self.clusters.show_cluster(cluster_id=cluster)
            moved = (self.places(after)["ACTIVE"], self.places(after)["STANDBY"]) == (places["STANDBY"], places["ACTIVE"])
            self.check("they have changed places and kept their addresses", moved, after)
            self.check("the virtual address stays", after["virtual_ip_address"] == before["virtual_ip_address"], after)
        finally:
            self.remove(cluster)

    def places(self, shown):
        return {one["role_type"]: one["service_ip_address"] for one in shown["instance_groups"][0]["instances"]}

    def catalogue(self):
        versions = self.versions.list_engine_versions(eos_included=False)["contents"]
        self.check("engine versions are listed", len(versions) > 0, versions)
        properties = self.versions.list_engine_version_properties(dbaas_engine_version_id=versions[0]["id"])
        self.check("an engine version has properties", len(properties["contents"]) > 0, properties)
        image = versions[0]["product_image_type"]
        types = self.types.list_server_types(product_image_type=image)["contents"]
        self.check("server types are listed for the image type", any(t["name"] == "db1v1m2" for t in types), types)

    def bad_input(self, body):
        refused = self.report.refused
        create = self.clusters.create_cluster
        wrong = dict(body, name="no-good")
        refused(f"{self.engine}: a bad name is refused", lambda: create(**wrong), 400, "ValidationError")
        alone = dict(body, ha_enabled=True)
        refused(f"{self.engine}: one instance is not highly available", lambda: create(**alone), 400, "ValidationError")
        unknown = "0" * 32
        refused(
            f"{self.engine}: an unknown cluster is not found",
            lambda: self.clusters.show_cluster(cluster_id=unknown),
            404,
            "Dbaas.NotFound.Cluster",
        )
        refused(
            f"{self.engine}: an unknown request is refused",
            lambda: self.requests.show_request(request_id=f"req-{unknown}"),
            400,
            "Dbaas.ValidationError.InvalidRequestId",
        )
        refused(
            f"{self.engine}: an operation that is not there yet says so",
            lambda: self.clusters.promote_replica_cluster(cluster_id=unknown),
            400,
            "Dbaas.ValidationError.NotSupportedYet",
        )

    def live(self, cluster, request, name, body):
        shown, ok = until("create", lambda: self.clusters.show_cluster(cluster_id=cluster), lambda c: c["service_state"] not in IN_TRANSIT)
        if not self.check("create ends in RUNNING", ok and shown["service_state"] == "RUNNING", shown):
            return
        self.wait_for_request("create", request)
        self.check_shown(shown, body)
        self.check_lists(cluster, name)
        self.check_parameters(cluster)
        for verb, during, after in [("stop", "STOPPING", "STOPPED"), ("start", "STARTING", "RUNNING"), ("restart", "RESTARTING", "RUNNING")]:
            self.change(cluster, verb, during, after)
        self.edit_rules(cluster)

    def check_shown(self, shown, body):
        init = shown["init_config_option"]
        asked = body["init_config_option"]
        same = all(init[key] == asked[key] for key in asked if key != "database_user_password")
        self.check("the database is shown as it was asked for", same and "database_user_password" not in init, init)
        kept = ("name", "subnet_id", "timezone", "ha_enabled", "nat_enabled", "allowable_ip_addresses")
        self.check("the cluster is shown as it was asked for", all(shown[key] == body[key] for key in kept), shown)
        self.check("an unset maintenance option is an object", shown["maintenance_option"]["use_maintenance_option"] is False)
        self.check("1.1 says whether the kernel is patchable", shown.get("is_kernel_patchable") is False)
        watch = shown.get("service_watch_log_collection")
        self.check("only mariadb 1.1 has service_watch_log_collection", (watch is False) == (self.engine == "mariadb"), watch)
        address = shown["instance_groups"][0]["instances"][0]["service_ip_address"]
        try:
            socket.create_connection((address, init["database_port"]), timeout=5).close()
            self.check("the endpoint accepts connections", True)
        except OSError as error:
            self.check("the endpoint accepts connections", False, error)

    def check_parameters(self, cluster):
        groups = self.groups.list_parameter_groups()
        self.check("there is one parameter group", len(groups["contents"]) == 1, groups)
        group = groups["contents"][0]["id"]
        page = self.parameters.list_parameters(dbaas_parameter_group_id=group, size=5, page=1)
        names = [row["name"] for row in page["contents"]]
        self.check("parameters come in pages by name", len(names) == 5 and names == sorted(names) and page["count"] > 100, page)
        values = self.clusters.list_parameter_values(cluster_id=cluster)
        connections = [row for row in values["contents"] if row["name"] == "max_connections"]
        self.check("what is applied is shown", connections and int(connections[0]["applied_value"]) >= 100, connections)
        known = {row["name"] for row in values["contents"]}
        described = set()
        for number in range(page["count"] // 200 + 1):
            part = self.parameters.list_parameters(dbaas_parameter_group_id=group, size=200, page=number)
            described |= {row["name"] for row in part["contents"]}
        self.check("every applied parameter is in the group", not known - described, sorted(known - described))
        self.check("the group has hardly more than is applied", len(described - known) < 20, sorted(described - known))
        for verb in ("synchronize_cluster_state", "synchronize_parameter_values"):
            answer = getattr(self.clusters, verb)(cluster_id=cluster)
            self.right_after(verb, cluster, answer["request_id"], "SYNCHRONIZING", "RUNNING")
            until(verb, lambda: self.state(cluster), lambda s: s not in IN_TRANSIT)
            self.wait_for_request(verb, answer["request_id"])

    def check_lists(self, cluster, name):
        page = self.clusters.list_clusters(size=20, page=0, sort="name:asc")
        names = [row["name"] for row in page["contents"]]
        self.check("a sorted list verifies and is sorted", names == sorted(names) and page["sort"] == ["name:asc"], page)
        self.check("the list has the cluster", cluster in [row["id"] for row in page["contents"]], page)
        page = self.clusters.list_clusters(name=name, service_state="RUNNING", database_name="vendors")
        self.check("filters find it", [row["id"] for row in page["contents"]] == [cluster] and page["count"] == 1, page)
        pages = list(self.clusters.get_paginator("list_clusters").paginate(size=1))
        self.check("the paginator ends", len(pages) >= 1, pages)

    def change(self, cluster, verb, during, after):
        call = getattr(self.clusters, f"{verb}_cluster")
        answer = call(cluster_id=cluster)
        self.right_after(verb, cluster, answer["request_id"], during, after)
        state, ok = until(verb, lambda: self.state(cluster), lambda s: s not in IN_TRANSIT)
        self.check(f"{verb} ends in {after}", ok and state == after, state)
        self.wait_for_request(verb, answer["request_id"])
        if verb == "stop":
            self.report.refused(
                f"{self.engine}: stopping what is stopped is refused",
                lambda: call(cluster_id=cluster),
                400,
                "Dbaas.ValidationError.InvalidServiceState",
            )

    def right_after(self, what, cluster, request, during, after):
        """The first look shows the change on its way; its end only if the request has ended by then."""
        state = self.state(cluster)
        ended = state == after and self.requests.show_request(request_id=request)["state"] == "SUCCESS"
        self.check(f"right after {what} the cluster is {during}", state == during or ended, state)

    def edit_rules(self, cluster):
        answer = self.clusters.set_security_group_rules(
            cluster_id=cluster, add_ip_addresses=["192.0.2.7"], del_ip_addresses=["127.0.0.0/8"]
        )
        state, ok = until("rules", lambda: self.state(cluster), lambda s: s not in IN_TRANSIT)
        self.wait_for_request("set rules", answer["request_id"])
        shown = self.clusters.show_cluster(cluster_id=cluster)["allowable_ip_addresses"]
        self.check("rules are changed", ok and state == "RUNNING" and shown == ["192.0.2.7"], (state, shown))

    def wait_for_request(self, what, request):
        seen, ok = until(f"request of {what}", lambda: self.requests.show_request(request_id=request), lambda r: r["state"] != "PROCESSING")
        self.check(f"the request of {what} ends in SUCCESS", ok and seen["state"] == "SUCCESS", seen)

    def remove(self, cluster):
        until("coming to rest", lambda: self.state(cluster), lambda s: s not in IN_TRANSIT)
        self.check("delete is accepted", "request_id" in self.clusters.terminate_cluster(cluster_id=cluster))

        def gone():
            try:
                return self.state(cluster)
            except scpv2.ClientError as error:
                return error.status_code

        state, ok = until("delete", gone, lambda s: s == 404)
        self.check("a deleted cluster is not found", ok, state)


def credentials():
    if os.environ.get("MOORAGE_URL"):
        return os.environ["MOORAGE_URL"], os.environ["MOORAGE_ACCESS_KEY"], os.environ["MOORAGE_SECRET_KEY"]
    if len(sys.argv) != 2:
        sys.exit("give a data directory, or set MOORAGE_URL, MOORAGE_ACCESS_KEY and MOORAGE_SECRET_KEY")
    with open(os.path.join(sys.argv[1], "bootstrap.json"), encoding="utf-8") as file:
        first = json.load(file)
    return first["base_url"], first["access_key"], first["secret_key"]


def session_for(url, access_key, secret_key, by_prefix):
    session = scpv2.Session(access_key=access_key, secret_key=secret_key, language="en-US")
    base = url.rstrip("/")
    session.endpoint_for = lambda api: f"{base}/{api}" if by_prefix else base
    return session


def main():
    url, access_key, secret_key = credentials()
    report = Report()
    for engine, by_prefix in [("mariadb", True), ("postgresql", False)]:
        try:
            Service(session_for(url, access_key, secret_key, by_prefix), engine, report).drive()
        except Exception as error:  # one engine's trouble must not hide the other's result
            report.check(f"{engine}: driven to the end", False, error)
    stranger = session_for(url, access_key, "not-the-secret-key", True).client("mariadb_cluster")
    report.refused("a wrong signature is refused", stranger.list_clusters, 401, "Dbaas.Unauthorized.AuthNFailed")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
