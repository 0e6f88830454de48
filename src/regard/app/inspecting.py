"""`--page`: one HTML file in which pictures, or captions, can be looked at."""

import logging
from dataclasses import replace

from regard.files import write_file
from regard.predictors.page_plan import PageContent, PagePlan

log = logging.getLogger("regard")


def write_page(plan: PagePlan, content: PageContent) -> int:
    """Write the page; how many pictures it holds."""
    from regard.rendering.pages.inspections import InspectedPage, inspection_page  # jinja2, only where it is needed

    for message in content.messages:
        log.info(message)
    page = InspectedPage(**vars(content))
    page = replace(page, show_pictures=plan.show_pictures, anonymise=plan.anonymise)
    write_file(plan.file, inspection_page(page))
    log.info(f"page written to {plan.file}, {plan.file.stat().st_size / 1e6:.1f} MB")
    return len(content.pictures)
