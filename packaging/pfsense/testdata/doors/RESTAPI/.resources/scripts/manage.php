<?php

// The stand-in's command. Its lock is a file that is there, as the package's.
require_once dirname(__DIR__, 2) . '/autoloader.inc';

function notify_dispatcher(string|null $dispatcher_name, array $arguments = []): void {
    $class = "\\RESTAPI\\Dispatchers\\$dispatcher_name";
    $lock = (getenv('DISPATCHD_RESTAPI_LOCKS') ?: '/tmp') . "/$dispatcher_name.lock";
    while (file_exists($lock)) {
        usleep(100_000);
    }
    file_put_contents($lock, 'lock');
    (new $class(async: false))->process(...$arguments);
    unlink($lock);
    exit(0);
}

function refresh_cache(string|null $cache_name): void {
    $class = "\\RESTAPI\\Caches\\$cache_name";
    (new $class())->process();
    exit(0);
}

match ($argv[1]) {
    'notifydispatcher' => notify_dispatcher(dispatcher_name: $argv[2], arguments: ($argv[3] ?? '') ? json_decode($argv[3], true) : []),
    'refreshcache' => refresh_cache($argv[2]),
    default => null, // schedules are none of the stand-in's
};
