#!/usr/bin/env python3
"""Opens a report.html in headless Chromium, clicks through its viewer and compares pixels with the NIfTI files.

    pip install playwright nibabel numpy pillow     and Debian's chromium, or: playwright install chromium
    tools/with-adapter tools/report_check.py DEMO                 the folder of `vnet-engine demo`, made where it is missing,
                                                                  and a report of a short training on two channels
    tools/report_check.py --report RUN/report.html --images DIR --labels DIR --predictions RUN/test/predictions
    ... --figures docs/figures                                     also writes the screenshots of the documentation

At 390 and 1280 pixels, light and dark: no request leaves the page, nothing is wider than the screen, slices have the
volume's proportions, grey values are those of the files to the last bit, outlines lie on the edges of the labels and
go away with their check box; wheel, keys, sliders, mouse, finger, choice of the case and sorting do what they say; texts of plots
are neither cut off nor on one another; without scripts the pictures are there. Ends with `N passed, N failed`, or says why it was skipped.
"""
import argparse
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REFERENCE, PREDICTION = 3.0, 2.0  # widths of the outlines in CSS pixels
PLANES = {"axial": (0, 1, 2, "z"), "coronal": (0, 2, 1, "y"), "sagittal": (1, 2, 0, "x")}
SCREENS = {390: {"height": 844, "scale": 2, "touch": True}, 1280: {"height": 900, "scale": 1, "touch": False}}
MOST_BYTES = 150_000

try:
    import nibabel
    import numpy as np
    from PIL import Image
    from playwright.sync_api import sync_playwright
except ImportError as error:
    print(f"report_check: skipped, {error.name} is not installed\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)

results = []


def check(name, fine, detail=""):
    results.append(bool(fine))
    if not fine:
        print(f"FAILED {name} {detail}", flush=True)


def canonical(path):
    return np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)


def find(folder, case):
    return next(path for path in sorted(Path(folder).iterdir()) if re.fullmatch(re.escape(case) + r"\.nii(\.gz)?", path.name))


class Volumes:
    """A case as its files have it, in RAS+, intensities in 8 bits between the 1st and 99th percentile."""

    def __init__(self, folders, case):
        image = canonical(find(folders["images"], case)).astype(np.float32)
        channels = np.moveaxis(image, 3, 0) if image.ndim == 4 else [image]
        self.channels = [self.grey(channel) for channel in channels]
        self.labels = {kind: canonical(find(folders[key], case)).astype(int)
                       for kind, key in [("reference", "labels"), ("prediction", "predictions")]}

    @staticmethod
    def grey(image):
        ordered = np.sort(image[np.isfinite(image)])
        low, high = (ordered[(len(ordered) - 1) * percent // 100] for percent in (1, 99))
        # Rust's round: half away from zero.
        grey = np.floor((image - low) / (high - low) * np.float32(255) + np.float32(0.5))
        return np.clip(grey, 0, 255).astype(np.uint8)

    @staticmethod
    def slice(volume, plane, at):
        """Rows and columns as in the picture: from the high end of both axes to the low one."""
        columns, rows, normal, _ = PLANES[plane]
        picture = np.moveaxis(volume, (rows, columns, normal), (0, 1, 2))[:, :, at]
        return picture[::-1, ::-1]


class Viewer:
    def __init__(self, page, scale):
        self.page, self.scale = page, scale
        self.cases = json.loads(page.locator("#viewer-cases").text_content())

    def ready(self, number):
        self.page.wait_for_selector(f'#viewer[data-ready="{number}"]', timeout=20_000)

    def figure(self, plane):
        return self.page.locator(f"#viewer [data-plane={plane}]")

    def canvas(self, plane):
        return self.figure(plane).locator("canvas")

    def at(self, plane):
        return int(self.figure(plane).locator("input").input_value())

    def option(self, name, on):
        self.page.locator(f"#viewer [data-option={name}]").set_checked(on)

    def pixels(self, plane):
        url = self.canvas(plane).evaluate("canvas => canvas.toDataURL()")
        return np.array(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def edges(labels, label):
    """Midpoints, in voxels (x, y), of the edges between voxels of a class and others."""
    inside = labels == label
    ys, xs = np.nonzero(inside[:, 1:] != inside[:, :-1])
    yield from zip(xs + 1.0, ys + 0.5)
    ys, xs = np.nonzero(inside[1:] != inside[:-1])
    yield from zip(xs + 0.5, ys + 1.0)


def clear(x, y, shape, scale):
    """Whether a pixel is away from the letters and the length bar at the picture's edges."""
    height, width = shape[:2]
    return 26 * scale < x < width - 26 * scale and 26 * scale < y < height - 34 * scale


def check_intensities(viewer, volumes, plane, name, channel=0):
    """The middle of every voxel has the file's grey value."""
    pixels = viewer.pixels(plane)
    expected = Volumes.slice(volumes.channels[channel], plane, viewer.at(plane))
    rows, columns = expected.shape
    sy, sx = pixels.shape[0] / rows, pixels.shape[1] / columns
    wrong = tried = 0
    for row in range(rows):
        for column in range(columns):
            x, y = int((column + 0.5) * sx), int((row + 0.5) * sy)
            if clear(x, y, pixels.shape, viewer.scale):
                tried += 1
                wrong += list(pixels[y, x]) != [expected[row, column]] * 3
    check(f"{name} {plane}: intensities of channel {channel}", wrong == 0 and tried > 50, f"{wrong} of {tried} differ")


def check_outlines(viewer, volumes, kind, thickness, plane, name):
    """Every edge of the labels has the outline's colour, and far from edges every pixel is grey. A line of two pixels or
    more covers the pixel that its middle lies in."""
    pixels = viewer.pixels(plane).astype(int)
    labels = Volumes.slice(volumes.labels[kind], plane, viewer.at(plane))
    sy, sx = pixels.shape[0] / labels.shape[0], pixels.shape[1] / labels.shape[1]
    near = np.zeros(pixels.shape[:2], bool)
    reach = int(np.ceil(thickness * viewer.scale)) + int(np.ceil(max(sx, sy))) // 2 + 1
    wrong = tried = 0
    for number, entry in enumerate(viewer.cases[viewer.case]["classes"], start=1):
        colour = np.array([int(entry[kind][i:i + 2], 16) for i in (1, 3, 5)])
        for x, y in edges(labels, number):
            px, py = min(int(x * sx), pixels.shape[1] - 1), min(int(y * sy), pixels.shape[0] - 1)
            near[max(0, py - reach):py + reach, max(0, px - reach):px + reach] = True
            if clear(px, py, pixels.shape, viewer.scale):
                tried += 1
                wrong += (pixels[py, px] != colour).any()
    check(f"{name} {plane}: {kind} outline", wrong == 0, f"{wrong} of {tried} edges")
    coloured = pixels.max(axis=2) != pixels.min(axis=2)
    check(f"{name} {plane}: {kind} outline is nowhere else", not (coloured & ~near).any())
    return tried


def check_channels(viewer, volumes, name):
    """Every channel that the box offers is that of the file; of one channel there is no box. The first one is shown at the end."""
    box = viewer.page.locator("#viewer [data-channels]")
    names = [channel["name"] for channel in viewer.cases[viewer.case]["channels"]]
    check(f"{name}: as many channels as the file has", len(names) == len(volumes.channels), str(names))
    check(f"{name}: a box of channels where there are several", box.is_visible() == (len(names) > 1))
    if len(names) == 1:
        return
    select = box.get_by_label("Channel")
    check(f"{name}: names of channels", select.locator("option").all_text_contents() == names, str(names))
    for kind in ("reference", "prediction", "crosshair", "smooth"):
        viewer.option(kind, False)
    for channel in [*range(1, len(names)), 0]:
        select.select_option(str(channel))
        for plane in PLANES:
            check_intensities(viewer, volumes, plane, name, channel)
    for kind in ("reference", "prediction", "crosshair", "smooth"):
        viewer.option(kind, True)


def check_planes(viewer, volumes, name):
    viewer.option("smooth", False)
    viewer.option("crosshair", False)
    for kinds, title in [((), "none"), (("reference",), "label"), (("prediction",), "prediction")]:
        for kind in ("reference", "prediction"):
            viewer.option(kind, kind in kinds)
        seen = 0
        for plane in PLANES:
            if not kinds:
                pixels = viewer.pixels(plane)
                check(f"{name} {plane}: grey without outlines", (pixels.max(axis=2) == pixels.min(axis=2)).all())
                check_intensities(viewer, volumes, plane, name)
            for kind in kinds:
                thickness = REFERENCE if kind == "reference" else PREDICTION
                seen += check_outlines(viewer, volumes, kind, thickness, plane, f"{name} ({title})")
        check(f"{name} ({title}): edges were looked at", not kinds or seen > 20, str(seen))
    for option in ("reference", "prediction", "crosshair", "smooth"):
        viewer.option(option, True)


def check_proportions(viewer, name):
    entry = viewer.cases[viewer.case]
    extent = [voxels * mm for voxels, mm in zip(entry["extents"], entry["spacing"])]
    boxes = {plane: viewer.canvas(plane).bounding_box() for plane in PLANES}
    scale = boxes["axial"]["width"] / extent[0]
    for plane, (columns, rows, *_) in PLANES.items():
        box = boxes[plane]
        off = max(abs(box["width"] - extent[columns] * scale), abs(box["height"] - extent[rows] * scale))
        # Both sides are rounded to whole pixels, and the scale comes from such a side.
        check(f"{name} {plane}: proportions", off <= 1 + max(extent) / extent[0] / 2, f"off by {off} pixels")


def check_navigation(viewer, page, touch, name):
    def moved(plane, by, action, how):
        before = viewer.at(plane)
        action()
        page.wait_for_timeout(60)
        check(f"{name} {plane}: {how}", viewer.at(plane) == before + by, f"{before} to {viewer.at(plane)}, not {by:+}")

    axial, coronal = viewer.canvas("axial"), viewer.canvas("coronal")
    moved("coronal", 1, lambda: coronal.press("ArrowUp"), "arrow up")
    moved("coronal", -5, lambda: coronal.press("PageDown"), "page down")
    slider = page.get_by_role("slider", name="Sagittal slice, along x")
    moved("sagittal", 1, lambda: slider.press("ArrowRight"), "slider's key")
    last = viewer.cases[viewer.case]["extents"][2] - 1
    axial.press("End")
    check(f"{name} axial: end", viewer.at("axial") == last)
    axial.press("Home")
    check(f"{name} axial: home", viewer.at("axial") == 0)
    slider = page.get_by_role("slider", name="Axial slice, along z")
    slider.fill(str(last // 2))
    check(f"{name} axial: slider", viewer.at("axial") == last // 2)
    if not touch:
        axial.scroll_into_view_if_needed()
        axial.hover()
        moved("axial", -1, lambda: page.mouse.wheel(0, 40), "wheel down")
        moved("axial", 2, lambda: (page.mouse.wheel(0, -40), page.wait_for_timeout(60), page.mouse.wheel(0, -40)), "wheel up")
    axial.scroll_into_view_if_needed()
    box, (nx, ny, _) = axial.bounding_box(), viewer.cases[viewer.case]["extents"]
    voxel = (nx // 3, 2 * ny // 3)
    place = {"x": box["width"] * (nx - 0.5 - voxel[0]) / nx, "y": box["height"] * (ny - 0.5 - voxel[1]) / ny}
    (axial.tap if touch else axial.click)(position=place)
    found = (viewer.at("sagittal"), viewer.at("coronal"))
    check(f"{name} axial: {'tap' if touch else 'click'} moves the crosshair", found == voxel, f"{found}, not {voxel}")
    text = page.locator("#viewer [data-readout]").text_content()
    check(f"{name}: readout", text.startswith(f"Voxel {voxel[0]}, {voxel[1]}, {viewer.at('axial')} · intensity "), text)


def check_table(page, name):
    heading = page.locator("table.sortable th", has_text="Dice")
    column = heading.evaluate("cell => cell.cellIndex")
    values = lambda: [float(text) if text != "–" else None for text in
                      page.locator(f"table.sortable tbody td:nth-child({column + 1})").all_text_contents()]
    for order, reverse in [("ascending", False), ("descending", True)]:
        heading.get_by_role("button").click()
        defined = [value for value in values() if value is not None]
        check(f"{name}: cases {order} by Dice", defined == sorted(defined, reverse=reverse) and len(defined) > 1, str(defined))
        check(f"{name}: {order} is announced", heading.get_attribute("aria-sort") == order)


def check_plots(page, name):
    """Plots take the colours of the page, and none of their texts is cut off or lies on another one."""
    plots = page.locator("svg.plot")
    check(f"{name}: plots", plots.count() > 0)
    for number, problems in enumerate(plots.evaluate_all("""plots => plots.map((plot) => {
            const ink = getComputedStyle(document.body).color;
            const problems = getComputedStyle(plot).color === ink ? [] : ['other ink'];
            const { width, height } = plot.viewBox.baseVal;
            const texts = [...plot.querySelectorAll('text')].map((text) => [text.textContent, text.getBBox()]);
            texts.forEach(([name, box], at) => {
                if (box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height) {
                    problems.push(`cut off: ${name}`);
                }
                for (const [other, b] of texts.slice(at + 1)) {
                    const apart = box.x + box.width <= b.x || b.x + b.width <= box.x
                        || box.y + box.height * 0.8 <= b.y || b.y + b.height * 0.8 <= box.y;
                    if (!apart) problems.push(`${name} on ${other}`);
                }
            });
            return problems;
        })""")):
        check(f"{name}: plot {number}", not problems, str(problems[:3]))


def open_page(browser, report, width, scheme, **more):
    screen = SCREENS[width]
    context = browser.new_context(viewport={"width": width, "height": screen["height"]}, color_scheme=scheme, offline=True,
                                  device_scale_factor=screen["scale"], has_touch=screen["touch"], **more)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.split(":")[0] in ("file", "data", "blob") or complaints.append(request.url))
    page.goto(report.resolve().as_uri())
    return page, complaints


def check_late_case(page, name):
    """A case that takes long to unpack, and another one that is chosen meanwhile and stays."""
    page.evaluate("""() => {
        const unpack = Response.prototype.arrayBuffer;
        const choose = (number) => document.querySelector(`#viewer [name=viewer-case][value='${number}']`).click();
        Response.prototype.arrayBuffer = async function () {
            const bytes = await unpack.call(this);
            await new Promise((done) => setTimeout(done, 400));
            return bytes;
        };
        choose(1);
        Response.prototype.arrayBuffer = unpack;
        choose(0);
    }""")
    page.wait_for_timeout(1500)
    shown = page.locator("#viewer").get_attribute("data-ready")
    check(f"{name}: the newest choice stays", shown == "0", f"case {shown}")


def check_screen(browser, report, folders, width, scheme, figures):
    name = f"{width} {scheme}"
    page, complaints = open_page(browser, report, width, scheme)
    viewer = Viewer(page, SCREENS[width]["scale"])
    for number, entry in enumerate(viewer.cases):
        if number:
            page.locator(f"#viewer [name=viewer-case][value='{number}']").check()
        viewer.case = number
        viewer.ready(number)
        if number == 0 and figures:
            screenshot(page, figures / f"report-{width}-{scheme}.png")
        volumes = Volumes(folders, entry["case"])
        check_channels(viewer, volumes, f"{name} {entry['case']}")
        check_planes(viewer, volumes, f"{name} {entry['case']}")
        check_proportions(viewer, f"{name} {entry['case']}")
    check_navigation(viewer, page, SCREENS[width]["touch"], name)
    check_planes(viewer, Volumes(folders, viewer.cases[viewer.case]["case"]), f"{name} after moving")
    check_table(page, name)
    check_plots(page, name)
    check_late_case(page, name)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(f"{name}: fits the screen", wide <= 0, f"{wide} pixels too wide")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", ground)[:3])) < 384
    check(f"{name}: background", dark == (scheme == "dark"), ground)
    check(f"{name}: no complaint and no request", not complaints, str(complaints[:3]))
    page.context.close()


def check_without_scripts(browser, report):
    page, complaints = open_page(browser, report, 1280, "light", java_script_enabled=False)
    check("without scripts: no viewer", not page.locator("#viewer").is_visible())
    pictures = page.locator("#viewer-fallback img")
    check("without scripts: pictures", pictures.count() > 0 and pictures.first.is_visible())
    check("without scripts: no request", not complaints, str(complaints[:3]))
    page.context.close()


def screenshot(page, path):
    """The viewer, in as many colours as fit into the bytes that a figure may have."""
    page.locator("#viewer").scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    picture = Image.open(io.BytesIO(page.locator("#viewer").screenshot(scale="css"))).convert("RGB")
    for colours in (256, 128, 64, 32):
        picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
    check(f"{path.name} is small", path.stat().st_size < MOST_BYTES, f"{path.stat().st_size} bytes")
    print(f"{path}: {path.stat().st_size} bytes")


def train_on_channels(program, folder):
    """A short training on phantoms with their negatives as a second channel: its report, and the folders of its cases."""
    phantoms, data, run = folder / "phantoms", folder / "data", folder / "run"
    subprocess.run([program, "phantom", "--out", phantoms, "--cases", "10", "--extents", "32,32,16"], check=True, stdout=subprocess.DEVNULL)
    (data / "images").mkdir(parents=True)
    (phantoms / "labels").rename(data / "labels")
    for path in (phantoms / "images").iterdir():
        image = nibabel.load(path)
        voxels = np.asanyarray(image.dataobj)
        both = np.stack([voxels, voxels.max() - voxels], axis=3)
        nibabel.save(nibabel.Nifti1Image(both, image.affine), data / "images" / path.name)
    subprocess.run([program, "train", "--data", data, "--out", run, "--preset", "tiny", "--steps", "2", "-q"],
                   check=True, stdout=subprocess.DEVNULL)
    return run / "report.html", {"images": data / "images", "labels": data / "labels", "predictions": run / "test/predictions"}


def launch(playwright):
    """Playwright's own Chromium, else the system's."""
    if Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.launch()
    system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not system:
        print("report_check: skipped, there is no Chromium: apt-get install chromium\n0 passed, 0 failed, 1 skipped")
        sys.exit(0)
    return playwright.chromium.launch(executable_path=system, args=["--no-sandbox", "--force-color-profile=srgb"])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", nargs="?", type=Path, help="folder of a demonstration")
    parser.add_argument("--program", default="target/release/vnet-engine", help="makes the demonstration where it is missing")
    parser.add_argument("--steps", default="60", help="of that demonstration")
    for name in ("report", "images", "labels", "predictions", "figures"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    if given.demo:
        given.report, given.predictions = given.demo / "report.html", given.demo / "predictions"
        given.images, given.labels = given.demo / "unseen/images", given.demo / "unseen/labels"
    if not all([given.report, given.images, given.labels, given.predictions]):
        parser.error("give the folder of a demonstration, or --report, --images, --labels and --predictions")
    return given


def main():
    given = arguments()
    if given.demo and not given.demo.exists():
        subprocess.run([given.program, "demo", "--out", given.demo, "--steps", given.steps], check=True)
    if given.figures:
        given.figures.mkdir(parents=True, exist_ok=True)
    folders = {"images": given.images, "labels": given.labels, "predictions": given.predictions}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for width in SCREENS:
            for scheme in ("light", "dark"):
                check_screen(browser, given.report, folders, width, scheme, given.figures)
        check_without_scripts(browser, given.report)
        if given.demo:
            with tempfile.TemporaryDirectory() as folder:
                report, folders = train_on_channels(given.program, Path(folder))
                for width in SCREENS:
                    check_screen(browser, report, folders, width, "light", None)
        browser.close()
    failed = results.count(False)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
