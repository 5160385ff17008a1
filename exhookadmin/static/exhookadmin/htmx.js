"use strict";

// Before htmx starts: its own style element, and code in attributes, are not what the site's
// Content-Security-Policy allows. The styles are in admin.css.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;
