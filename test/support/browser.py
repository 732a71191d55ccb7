"""A headless browser without a network, and its requests and errors."""

import json
import os
import shutil

CHROMIUM, DRIVER = "chromium", "chromedriver"
# Root cannot create a sandbox; the other options disable the network services of Chromium.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def start(profile, *, width, height, phone=False, dark=False):
    """Start a browser with a window of this size and an empty profile; the caller quits it."""
    from selenium import webdriver

    # Selenium's manager would download a driver.
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(CHROMIUM)
    for option in (
        *OPTIONS,
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        "about:blank",
    ):
        options.add_argument(option)
    if phone:
        options.add_experimental_option(
            "mobileEmulation",
            {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2, "touch": True}},
        )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which(DRIVER))
    )
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    # The log of the browser's own start is discarded.
    driver.get("about:blank")
    driver.get_log("performance")
    return driver


def requests(driver):
    """The addresses that the page requested since the last call, without embedded images."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [address for address in asked if not address.startswith("data:")]


def console_errors(driver):
    """The errors on the console of the page since the last call."""
    return [entry["message"] for entry in driver.get_log("browser")]
