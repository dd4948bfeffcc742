"""Does with a browser whatever the Globo document does with curl: every form and link, in headless Chromium, against a running server.

The first argument is a data directory with a bootstrap.json. Prints a line per check and `N passed, N failed` at the end; the exit code is
0 only when nothing failed. With MOORAGE_SCREENSHOTS it leaves a picture of each page in that directory.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from report import Report

EVIL = "<script>document.title='taken'</script> & \"quoted\" '; DROP TABLE allocation; --"


class Browser:
    """A browser at a server."""

    def __init__(self, base, profile):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,1400", f"--user-data-dir={profile}",
        ]:
            options.add_argument(argument)
        self.base = base
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(60)
        self.pictures = 0

    def go(self, path):
        self.driver.get(self.base + path)

    def picture(self, name):
        where = os.environ.get("MOORAGE_SCREENSHOTS")
        if where:
            os.makedirs(where, exist_ok=True)
            self.pictures += 1
            self.driver.save_screenshot(os.path.join(where, f"{self.pictures:02}-{name}.png"))

    def path(self):
        return self.driver.current_url[len(self.base):].split("?")[0]

    def text(self, selector="body"):
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def has(self, selector):
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def document(self):
        """The document that the page shows."""
        text = self.driver.find_element(By.CSS_SELECTOR, "section.answer pre").text
        start = text.find("{")
        return json.loads(text[start:]) if start >= 0 else None

    def follow(self, link):
        """Clicks on a link in the document."""
        self.driver.find_element(By.LINK_TEXT, link).click()

    def send(self, form, **fields):
        """Fills in a form, sends it, and waits for the next page."""
        element = self.driver.find_element(By.ID, form)
        for name, value in fields.items():
            field = element.find_element(By.NAME, name)
            if field.tag_name == "select":
                Select(field).select_by_visible_text(value)
            else:
                field.clear()
                field.send_keys(value)
        before = self.driver.find_element(By.TAG_NAME, "html")
        element.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(self.driver, 60).until(lambda _: gone(before))


def gone(element):
    try:
        element.tag_name
        return False
    except Exception:  # whichever way the driver says that the page is another one
        return True


def logs_in(endpoint, user, password):
    """Whether the stock client gets in."""
    address, port, database = re.fullmatch(r"mysql://<user>:<password>@([^:]+):(\d+)/(\w+)", endpoint).groups()
    command = ["mariadb", "--no-defaults", "-NB", "-h", address, "-P", port, "-u", user, "-D", database, "-e", "SELECT 1"]
    done = subprocess.run(command, env={**os.environ, "MYSQL_PWD": password}, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == "1"


def status_of(request):
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def flows(report, browser):
    check = report.check

    browser.go("/api/database/")
    browser.picture("login")
    check("nobody sees a form to log in", browser.has("form#login") and not browser.has("section.answer"))
    browser.send("login", username="admin", password="wrong password")
    check("a wrong password is said to be wrong", "Invalid username/password" in browser.text(), browser.text())
    browser.send("login", username="admin", password="123456")
    check("after logging in one is where one wanted to be", browser.path() == "/api/database/", browser.driver.current_url)
    check("and sees an empty list", browser.document()["database"] == [])
    browser.picture("empty-list")

    browser.send("create", name="test database2", plan="small (mariadb)", environment="laboratory", description=EVIL)
    database = browser.document()
    own = browser.path()
    check("a database is made by a form", own == "/api/database/1/" and database["name"] == "test_database2", browser.text())
    check("that is said", "It was created." in browser.text())
    check("its address has the seed's form", database["endpoint"].startswith("mysql://<user>:<password>@"), database)
    check("text stays text", database["description"] == EVIL and browser.driver.title.startswith("Database Instance"), browser.driver.title)
    browser.picture("database")

    browser.go("/api/database/")
    listed = browser.document()
    check("it is in the list", listed["_links"]["count"] == 1 and listed["database"][0]["id"] == 1, listed)
    browser.follow(listed["database"][0]["_links"]["self"])
    check("a link of the list leads to it", browser.path() == own)

    browser.follow(database["credentials"][0])
    credential = browser.document()
    check("a link leads to its credential", credential["user"] == "u_test_database2", credential)
    check("the credential opens the database", logs_in(database["endpoint"], credential["user"], credential["password"]))
    browser.send("reset")
    reset = browser.document()
    check("a button gives it another password", reset["password"] != credential["password"] and "new password" in browser.text())
    check("the new one opens it", logs_in(database["endpoint"], reset["user"], reset["password"]))
    check("the old one does not", not logs_in(database["endpoint"], credential["user"], credential["password"]))
    browser.picture("credential")

    browser.go(own)
    browser.send("credential", user="u_myusr1")
    another = browser.document()
    check("one more credential is made by a form of the database", browser.path() == "/api/credential/2/", browser.text())
    check("it opens the database", logs_in(database["endpoint"], another["user"], another["password"]))
    browser.go("/api/credential/")
    check("lists hide passwords", all("password" not in row for row in browser.document()["credential"]))
    browser.send("create", user="u_myusr1", database="test_database2")
    check("a name that is taken is said to be", "already exists" in browser.text(".trouble"), browser.text())
    check("and what was typed is still there", browser.driver.find_element(By.CSS_SELECTOR, "#create [name=user]").get_attribute("value") == "u_myusr1")
    browser.picture("refused")
    browser.send("create", user="u_third", database="test_database2")
    check("and one by the form of the list", browser.path() == "/api/credential/3/", browser.text())
    browser.send("delete")
    check("a button removes it", browser.path() == "/api/credential/" and browser.document()["_links"]["count"] == 2, browser.text())

    browser.go("/api/project/")
    browser.send("create", name="my project", description=EVIL)
    check("a project is made by a form", browser.document()["name"] == "my project")
    browser.go(own)
    browser.send("change", project="my project", description="changed", is_protected="yes")
    changed = browser.document()
    check("a database is changed by a form", changed["project"].endswith("/api/project/1/") and changed["description"] == "changed", changed)
    browser.send("delete")
    check("a protected one stays", "protected" in browser.text(".trouble"), browser.text())
    browser.go(own)
    browser.send("raw", _content=json.dumps({"is_protected": False, "description": "by hand"}))
    check("and by a body written by hand", browser.document()["description"] == "by hand" and not browser.document()["is_protected"])
    browser.go("/api/database/")
    browser.send("raw", _content="{")
    check("a broken body is said to be broken", "JSON parse error" in browser.text(".trouble"), browser.text())
    browser.send("raw", _content="{}")
    check("what is missing is said", browser.text().count("This field is required.") >= 3, browser.text())
    browser.go("/api/project/1/")
    browser.send("delete")
    check("a project that is used stays", browser.has(".trouble"), browser.text())

    browser.go(own)
    browser.send("delete")
    check("a button puts it into quarantine", browser.path() == "/api/database/" and "quarantine" in browser.text(".done"), browser.text())
    check("nobody gets in then", not logs_in(database["endpoint"], another["user"], another["password"]))
    browser.go(own)
    check("its page says for how long", browser.document()["days_left_in_quarantine"] >= 1)
    browser.picture("quarantine")
    browser.send("restore")
    check("a button takes it out again", browser.document()["quarantine_dt"] is None)
    browser.send("delete")
    browser.go(own)
    form = browser.driver.find_element(By.ID, "purge")
    form.find_element(By.NAME, "confirmation").send_keys("another")
    form.find_element(By.TAG_NAME, "button").click()
    check("whoever types another name removes nothing", browser.path() == own and browser.has("#purge"))
    browser.send("purge", confirmation="test_database2")
    check("whoever types its name removes it", browser.document()["database"] == [], browser.text())
    browser.go(own)
    check("then it is not there", "404" in browser.text("section.answer") and "Not found" in browser.text())
    browser.go("/api/database_history/")
    check("and in the history", browser.document()["databasehistory"][0]["name"] == "test_database2")
    browser.go("/api/")
    browser.picture("root")
    check("the root names every kind", len(browser.document()) == 13, browser.document())
    browser.follow(browser.document()["task"])
    check("tasks say what was done", browser.document()["taskhistory"][0]["task_status"] == "SUCCESS", browser.document())

    cookie = browser.driver.get_cookie("moorage_session")
    check("scripts cannot read the session", cookie["httpOnly"] and cookie["sameSite"] == "Lax", cookie)
    form = {"Cookie": f"moorage_session={cookie['value']}", "Content-Type": "application/x-www-form-urlencoded"}
    for body in [b"name=forged", b"name=forged&csrfmiddlewaretoken=0000", b"_method=DELETE"]:
        request = urllib.request.Request(browser.base + "/api/project/1/", body, form)
        check(f"a forged form is refused ({body.decode()})", status_of(request) == 403)
    other = {**form, "Origin": "https://elsewhere.example"}
    login = urllib.request.Request(browser.base + "/api-auth/login/", b"username=admin&password=123456", other)
    check("nobody is logged in by another site", status_of(login) == 403)
    look = urllib.request.Request(browser.base + "/api/database/", headers={"Cookie": form["Cookie"]})
    check("a session is good for documents, too", status_of(look) == 200)
    browser.driver.find_element(By.CSS_SELECTOR, "header button").click()
    WebDriverWait(browser.driver, 60).until(lambda driver: "/api-auth/login/" in driver.current_url)
    browser.go("/api/database/")
    check("after logging out one has to log in again", browser.has("form#login"))
    check("and the session opens nothing any more", status_of(look) == 401)


def main():
    with open(os.path.join(sys.argv[1], "bootstrap.json")) as file:
        bootstrap = json.load(file)
    base = bootstrap["base_url"]
    headers = {"Authorization": f"Bearer {bootstrap['token']}", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{base}/moorage/v1/sample-data", b"{}", headers), timeout=60).close()
    report = Report()
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(base, profile)
        try:
            flows(report, browser)
        except (NoSuchElementException, KeyError, TypeError) as error:
            browser.picture("where-it-ended")
            report.check(f"every flow goes to its end ({browser.driver.current_url})", False, f"{error!r}\n{browser.text()}")
        finally:
            browser.driver.quit()
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
