<?php

/*
 * The part of the PHP bridge that finds classes of the package and loads them.
 */

declare(strict_types=1);

namespace Dispatchd\Bridge;

/** Where the package's own autoloader is. */
function package_loader(): string {
    $path = stream_resolve_include_path('RESTAPI/autoloader.inc');
    if ($path === false) {
        throw new Refusal('the REST API package is not installed: RESTAPI/autoloader.inc is not in ' . get_include_path(), UNAVAILABLE);
    }
    return $path;
}

/** Has classes of the package found when they are used first. */
function find_classes_in(string $dir): void {
    spl_autoload_register(static function (string $class) use ($dir): void {
        if (str_starts_with($class, 'RESTAPI\\')) {
            $file = $dir . '/' . str_replace('\\', '/', substr($class, strlen('RESTAPI\\'))) . '.inc';
            if (is_file($file)) {
                load($file);
            }
        }
    });
    // The package's files ask for its autoloader, which would load all of them:
    // they get an empty one.
    set_include_path(__DIR__ . '/lazy' . PATH_SEPARATOR . get_include_path());
    require_once 'RESTAPI/autoloader.inc';
}

/** The files that do what the package's autoloader does, but for its classes. */
function lazy_files(): \Generator {
    $loader = package_loader();
    preg_match_all('/^\s*require_once\s+\'([^\']+)\'\s*;/m', (string) file_get_contents($loader), $found);
    $includes = array_filter($found[1], static fn (string $name): bool => !str_starts_with($name, 'RESTAPI/'));
    if ($includes === []) {
        yield $loader; // not written as we know it: rather slow than wrong
        return;
    }
    find_classes_in(dirname($loader));
    // Privileges come last in the package, when its core is known.
    $late = array_filter($includes, static fn (string $name): bool => str_starts_with($name, 'priv'));
    yield from array_values(array_diff($includes, $late));
    // Functions and constants cannot be found by use: they are in the core.
    yield from glob(dirname($loader) . '/Core/*.inc') ?: [];
    yield from array_values($late);
}

/** The full name of a class that is asked for by a short one. */
function find_class(string $name): string {
    $name = ltrim($name, '\\');
    $names = str_contains($name, '\\') ? [$name] : ["RESTAPI\\Dispatchers\\$name", "RESTAPI\\Caches\\$name", $name];
    foreach ($names as $full) {
        if (class_exists($full)) {
            return $full;
        }
    }
    throw new Refusal('no class ' . implode(' or ', $names), UNAVAILABLE);
}

/** Makes the object as the package's own runner does: in the foreground. */
function make(string $class): object {
    $reflection = new \ReflectionClass($class);
    if (!$reflection->isInstantiable() || !$reflection->hasMethod('process')) {
        throw new Refusal("class $class is neither a dispatcher nor a cache", UNAVAILABLE);
    }
    foreach ($reflection->getConstructor()?->getParameters() ?? [] as $parameter) {
        if ($parameter->getName() === 'async') {
            return new $class(async: false);
        }
    }
    return new $class();
}

/** What a method _process() of a file looks like: where it stands, its parameters, its type. */
const SIGNATURE = '/^(?<head>[ \t]*(?:(?:final|public|protected|private)\s+)*)function\s+_process\s*'
    . '\((?<parameters>(?:[^()]|\([^()]*\))*)\)\s*(?::\s*(?<type>[\w\\\\|?]+)\s*)?(?=\{)/m';

/** Loads a file once. */
function load(string $file): void {
    $text = str_contains($file, '/Dispatchers/') ? (string) @file_get_contents($file) : '';
    $wide = is_narrow($text) ? widened($text, $file) : null;
    if ($wide === null) {
        require_once $file;
        return;
    }
    eval('?>' . $wide);
}

/**
 * Whether the class says that it takes other arguments than every dispatcher does.
 * PHP ends itself over such a class, and the package's document gives one as its
 * template: _process() without arguments.
 */
function is_narrow(string $text): bool {
    return preg_match(SIGNATURE, $text, $found) === 1
        && (!preg_match('/^\s*(?:mixed\s*)?\.\.\.\s*\$\w+\s*,?\s*$/D', $found['parameters']) || strtolower($found['type'] ?? '') !== base_type());
}

/** What _process() gives in the base class. */
function base_type(): string {
    $base = 'RESTAPI\\Core\\Dispatcher';
    return class_exists($base) && method_exists($base, '_process') ? (string) (new \ReflectionMethod($base, '_process'))->getReturnType() : 'void';
}

/**
 * The text with _process() as the base class has it, which calls the one that the
 * class wrote, under a name of its own. Lines stay where they are.
 */
function widened(string $text, string $file): string {
    $name = '_process_of_' . substr(md5($file), 0, 8);
    $type = base_type();
    $call = ($type === 'void' ? '' : 'return ') . "\\Dispatchd\\Bridge\\call_with(\$this->$name(...), \$arguments);";
    $text = (string) preg_replace_callback(SIGNATURE, static fn (array $m): string => ltrim($m['head'], " \t") === 'private ' ? $m[0]
        : $m['head'] . 'function _process(mixed ...$arguments)' . ($type === '' ? '' : ": $type") . " { $call } private function $name"
        . substr($m[0], strpos($m[0], '(', strlen($m['head']))), $text, 1);
    return (string) preg_replace(['/\b__FILE__\b/', '/\b__DIR__\b/'], [addcslashes(var_export($file, true), '\\$'), addcslashes(var_export(dirname($file), true), '\\$')], $text);
}

/** Whether the package's own loader, which loads every class, can only fail. */
function any_is_narrow(string $dir): bool {
    foreach (glob("$dir/Dispatchers/*.inc") ?: [] as $file) {
        if (preg_match(SIGNATURE, (string) @file_get_contents($file), $found) === 1
            && (!str_contains($found['parameters'], '...') || ($found['type'] ?? '') === '')) {
            return true;
        }
    }
    return false;
}
